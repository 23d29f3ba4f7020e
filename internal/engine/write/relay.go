package write

import (
	"fmt"
	"sync"
	"time"
)

// A Listener is the application's observer.
type Listener interface {
	Observe(Event)
}

// A relay tells the application's observer of events, one after the other, in the order in which they happened. It is code of the
// application: it may take long, panic, end its goroutine or not return. Nobody waits for it. What happens while too much waits to be told
// is dropped, and counted in the log.
type relay struct {
	listener func(Event)
	report   func(Event) // of events that were dropped

	mu       sync.Mutex
	waiting  []notice
	busy     bool          // a goroutine tells
	idle     chan struct{} // closed when it has told all; nil when nobody waits for that
	dropped  int64         // since the last report
	reported time.Time

	telling []notice // of the goroutine that tells
}

// A notice is an event, and who is told of it.
type notice struct {
	event Event
	to    func(Event)
}

const (
	maxWaiting  = 10_000 // events, of some 400 bytes
	reportEvery = time.Minute
)

func newRelay(listener, report func(Event)) *relay {
	return &relay{listener: listener, report: report}
}

// tell has the observer told.
func (r *relay) tell(e Event) { r.tellTo(r.listener, e) }

func (r *relay) tellTo(to func(Event), e Event) {
	e.At = time.Now()
	r.mu.Lock()
	if len(r.waiting) >= maxWaiting {
		r.mu.Unlock()
		r.drop(nil)
		return
	}
	r.waiting = append(r.waiting, notice{e, to})
	begin := !r.busy
	r.busy = true
	r.mu.Unlock()
	if begin {
		go r.deliver()
	}
}

// deliver tells until nothing waits. What ends its goroutine is followed by another one.
func (r *relay) deliver() {
	returned := false
	defer func() {
		if !returned {
			go r.deliver()
		}
	}()
	for r.next() {
		n := r.telling[0]
		r.telling[0] = notice{}
		r.telling = r.telling[1:]
		r.deliverOne(n)
	}
	returned = true
}

// next reports whether there is something to tell. If not, the next event begins anew.
func (r *relay) next() bool {
	if len(r.telling) > 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.telling, r.waiting = r.waiting, nil
	if len(r.telling) > 0 {
		return true
	}
	r.busy = false
	if r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
	return false
}

func (r *relay) deliverOne(n notice) {
	defer func() {
		if p := recover(); p != nil {
			r.drop(p)
		}
	}()
	n.to(n.event)
}

// drop counts an event that the observer was not told of, because it panicked with p, or for lack of an answer. The log has the sum, now
// and then.
func (r *relay) drop(p any) {
	r.mu.Lock()
	r.dropped++
	n := r.dropped
	due := time.Since(r.reported) >= reportEvery
	if due {
		r.dropped, r.reported = 0, time.Now()
	}
	r.mu.Unlock()
	if !due {
		return
	}
	e := Event{Kind: EventsDropped, Dropped: n}
	if p != nil {
		e.Err = fmt.Errorf("the observer panicked: %v", p)
	}
	r.report(e)
}

// settle waits until all is told, for a time.
func (r *relay) settle(patience time.Duration) {
	r.mu.Lock()
	if !r.busy {
		r.mu.Unlock()
		return
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
