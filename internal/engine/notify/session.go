package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

var (
	errDeaf = errors.New("LISTEN succeeded, but nothing is heard: a notification of this process's own did not arrive. " +
		"The notifier's connection leads through a pooler that shares connections between transactions, or to another database " +
		"than the service's: give the notifier a direct connection")
	errSilent  = errors.New("notifications have stopped to arrive: the notifier's connection is dead, perhaps")
	errConnect = errors.New("the notifier has not connected in time")
	errGone    = errors.New("the notifier stopped to listen, and gave no reason")
)

// A session is one connection of a listener. One goroutine has its fields.
type session struct {
	*Listener
	own    context.Context // ends with the session, and what the notifier has called with it
	ready  chan struct{}
	heard  chan Message
	pinged chan error
	over   chan struct{} // closed when the notifier has returned,
	why    error         // which is why it has

	stage  stage
	proved bool // it has heard this process's own
	timer  *time.Timer
}

// A stage is what a session waits for. Each ends with the timer, but for asked, whose notification is bounded itself.
type stage int

const (
	connecting stage = iota // for LISTEN
	asked                   // for a notification to be sent
	awaiting                // for it to be heard
	quiet                   // for the time to send another
)

func newSession(own context.Context, l *Listener) *session {
	return &session{
		Listener: l, own: own, ready: make(chan struct{}, 1), heard: make(chan Message), pinged: make(chan error, 1),
		over: make(chan struct{}), timer: time.NewTimer(l.times.Connect),
	}
}

// listen has the notifier listen. It is code of others.
func (s *session) listen() {
	s.why = errGone // by runtime.Goexit
	defer close(s.over)
	defer func() {
		if v := recover(); v != nil {
			s.why = fmt.Errorf("the notifier panicked: %v", v)
		}
	}()
	s.why = s.notifier.Listen(s.own, s.channel, s.isReady, s.hear)
	if s.why == nil {
		s.why = errGone
	}
}

func (s *session) isReady() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *session) hear(payload string) {
	m, ok := parse(payload)
	if !ok {
		return
	}
	select {
	case s.heard <- m:
	case <-s.own.Done():
	}
}

// serve does what the connection brings until it ends, and returns why.
func (s *session) serve() error {
	defer s.timer.Stop()
	for {
		select {
		case <-s.own.Done():
			return s.own.Err()
		case <-s.over:
			return s.why
		case <-s.ready:
			s.proved = false // this is another connection, perhaps
			s.ask()
		case m := <-s.heard:
			s.take(m)
		case err := <-s.pinged:
			s.sent(err)
		case <-s.timer.C:
			if err := s.due(); err != nil {
				return err
			}
		}
	}
}

// take takes a message. That of another process proves that this one hears only if it was proved before.
func (s *session) take(m Message) {
	ours := m.From == s.sender.from
	if ours && !s.proved {
		s.proved = true
		if !s.hears.Swap(true) {
			s.observe(State{Hears: true})
		}
		s.handle(everything) // as it was before, nobody here has heard of it
	}
	if s.proved {
		s.enter(quiet, s.times.Quiet/2+rand.N(s.times.Quiet/2+1)) // all have heard it: one of them makes the next
	}
	if !ours {
		s.handle(m)
	}
}

// ask sends a notification that is to come back.
func (s *session) ask() {
	s.stage = asked
	s.timer.Stop()
	s.sender.ping(func(err error) {
		select {
		case s.pinged <- err:
		case <-s.own.Done():
		}
	})
}

// sent notes that the notification is on its way. One that could not be sent proves nothing.
func (s *session) sent(err error) {
	switch {
	case s.stage != asked: // it was faster than its sender
	case err != nil:
		s.enter(quiet, s.times.Answer)
	default:
		s.enter(awaiting, s.times.Answer)
	}
}

func (s *session) due() error {
	switch s.stage {
	case connecting:
		return fmt.Errorf("%w: waited %s", errConnect, s.times.Connect)
	case awaiting:
		if s.proved {
			return fmt.Errorf("%w: waited %s", errSilent, s.times.Answer)
		}
		return fmt.Errorf("%w (waited %s)", errDeaf, s.times.Answer)
	case quiet:
		s.ask()
	case asked: // has no time
	}
	return nil
}

func (s *session) enter(to stage, d time.Duration) {
	s.stage = to
	s.timer.Reset(d)
}
