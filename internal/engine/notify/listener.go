package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Notifier hears notifications on a connection of its own.
type Notifier interface {
	// Listen listens on a channel until ctx ends or the connection fails, and returns why. It calls ready each time the server has
	// confirmed LISTEN, and heard for each notification, in any goroutine of its own but not after it has returned.
	Listen(ctx context.Context, channel string, ready func(), heard func(payload string)) error
}

// Times are how patient a listener is.
type Times struct {
	Connect time.Duration // until LISTEN is in force
	Quiet   time.Duration // at most without a notification, until it makes one to itself
	Answer  time.Duration // until that one has come back
	Retry   time.Duration // after a failure; doubled with each one, up to RetryMax
	Linger  time.Duration // with nobody who needs it

	RetryMax time.Duration
}

// DefaultTimes are those of a program; tests have shorter ones.
var DefaultTimes = Times{
	Connect: 10 * time.Second, Quiet: 5 * time.Second, Answer: 2 * time.Second,
	Retry: 100 * time.Millisecond, RetryMax: time.Minute, Linger: time.Minute,
}

// A State is what a listener says of itself.
type State struct {
	Hears bool          // notifications arrive
	Err   error         // why they do not
	Next  time.Duration // until the next attempt
}

// A Listener hears other processes while somebody needs it, and a while longer. It trusts no connection: one that listens must
// hear a notification of this process's own at first, and one whenever it has been quiet for long.
type Listener struct {
	notifier Notifier // nil: it never hears
	channel  string
	sender   *Sender
	times    Times
	handle   func(Message) // is told what others say
	observe  func(State)   // is told when the state changes, and of each failure

	hears atomic.Bool

	mu      sync.Mutex
	needed  int         // by so many
	linger  *time.Timer // runs when it is needed by none
	running bool
	stop    context.CancelFunc
	closed  bool
	runs    sync.WaitGroup
}

// NewListener returns a listener that does nothing until it is needed. The sender must send to the same channel. handle and observe
// must not block; handle is also called, with a message that there is news about everything, when the listener begins to hear and
// when it no longer does.
func NewListener(notifier Notifier, channel string, sender *Sender, times Times, handle func(Message), observe func(State)) *Listener {
	return &Listener{
		notifier: notifier, channel: channel, sender: sender, times: times, handle: handle, observe: observe, stop: func() {},
	}
}

// Hears reports whether what others tell arrives, as far as was proved lately.
func (l *Listener) Hears() bool { return l.hears.Load() }

// Need says that somebody needs to hear, until done is called.
func (l *Listener) Need() (done func()) {
	if l.notifier == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.needed++
	if l.linger != nil {
		l.linger.Stop()
	}
	l.start()
	return sync.OnceFunc(l.spare)
}

func (l *Listener) spare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.needed--
	if l.needed == 0 && !l.closed {
		l.linger = time.AfterFunc(l.times.Linger, l.rest)
	}
}

func (l *Listener) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.needed == 0 {
		l.stop()
	}
}

// start expects mu to be held.
func (l *Listener) start() {
	if l.running || l.closed || l.needed == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	l.running, l.stop = true, stop
	l.runs.Go(func() { l.run(ctx) })
}

// Close ends it, and waits for that.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	if l.linger != nil {
		l.linger.Stop()
	}
	l.stop()
	l.mu.Unlock()
	l.runs.Wait()
}

// run keeps a connection until ctx ends, and tries again when it fails.
func (l *Listener) run(ctx context.Context) {
	defer l.ended()
	pause := l.times.Retry
	for ctx.Err() == nil {
		begun := time.Now()
		err := l.listen(ctx)
		if l.hears.Swap(false) {
			l.handle(everything) // nobody knows what was missed, and polls were rare
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > l.times.RetryMax { // it had lasted
			pause = l.times.Retry
		}
		l.observe(State{Err: err, Next: pause})
		wait(ctx, pause/2+rand.N(pause))
		pause = min(2*pause, l.times.RetryMax)
	}
}

// ended begins anew if somebody came to need it while it was stopping.
func (l *Listener) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.running = false
	l.start()
}

// everything is a message that all may have changed.
var everything = Message{Work: true, Queues: true, News: true, All: true}

// listen has one session, and a goroutine in which the notifier listens. One that goes on although its context has ended is waited
// for before there is another, but not for ever when this process stops.
func (l *Listener) listen(ctx context.Context) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newSession(own, l)
	go s.listen()
	err := s.serve()
	cancel()
	select {
	case <-s.over:
		return err
	case <-time.After(leaveAfter):
	}
	if ctx.Err() == nil {
		l.hears.Store(false)
		l.observe(State{Err: errors.Join(err, errStuck)})
	}
	select {
	case <-s.over:
	case <-ctx.Done():
	}
	return err
}

// leaveAfter is how long a notifier may take to notice that its context has ended.
const leaveAfter = 5 * time.Second

var errStuck = errors.New("the notifier goes on although its context has ended, and is waited for")

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
