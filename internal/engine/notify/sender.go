package notify

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

const (
	// interval is the least time between two notifications of a process: what comes meanwhile goes with the next one.
	interval = 10 * time.Millisecond
	// gather is how long the first hint waits for those that belong to it, such as that a run has ended and that its parent goes on:
	// the second of two would wait for the interval.
	gather = 200 * time.Microsecond
	// sendBound is how long one may take. It is dropped then: whoever was to hear it polls.
	sendBound = 2 * time.Second
)

// A Sender tells other processes. Its methods return at once; a goroutine that lives while there is something to be sent sends it,
// together with what came in the last moments. A hint that cannot be sent is dropped.
type Sender struct {
	from    string
	send    func(ctx context.Context, payload string) error // nil: there is nobody to tell
	trouble func(error)                                     // is told of the first failure in a row

	mu      sync.Mutex
	next    draft
	sending bool
	closed  bool
	closing chan struct{}
	flushes sync.WaitGroup // one at a time

	failing bool // the newest was dropped; of whoever flushes
}

// NewSender returns a sender that sends by send; nil for one that never does.
func NewSender(send func(ctx context.Context, payload string) error, trouble func(error)) *Sender {
	return &Sender{from: rand.Text()[:16], send: send, trouble: trouble, closing: make(chan struct{})}
}

// Tell tells the others what m says; who from is known here.
func (s *Sender) Tell(m Message) { s.add(func(d *draft) { d.add(m) }) }

// ping sends a message, an empty one if there is nothing to tell, and calls sent with how that went.
func (s *Sender) ping(sent func(error)) {
	s.add(func(d *draft) {
		d.add(Message{})
		d.sent = append(d.sent, sent)
	})
}

func (s *Sender) add(to func(*draft)) {
	if s.send == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	to(&s.next)
	if !s.sending {
		s.sending = true
		s.flushes.Go(s.flush)
	}
}

// flush sends what waits until nothing does.
func (s *Sender) flush() {
	s.pause(gather)
	for {
		d, ok := s.take()
		if !ok {
			return
		}
		begun := time.Now()
		err := s.sendDraft(&d)
		if err != nil && !s.failing {
			s.trouble(err)
		}
		s.failing = err != nil
		for _, sent := range d.sent {
			sent(err)
		}
		s.pause(time.Until(begun.Add(interval)))
	}
}

// pause waits for d, but not when it is closed.
func (s *Sender) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closing:
	}
}

func (s *Sender) take() (d draft, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, s.next = s.next, draft{}
	s.sending = d.some
	return d, d.some
}

func (s *Sender) sendDraft(d *draft) error {
	payload, err := d.payload(s.from)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendBound)
	defer cancel()
	return s.send(ctx, payload)
}

// Close sends what waits, and waits for that.
func (s *Sender) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.flushes.Wait()
}
