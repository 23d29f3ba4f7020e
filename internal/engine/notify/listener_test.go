package notify

import (
	"context"
	"errors"

	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A wire leads from senders to a listener, as a server does, for as long as it is whole.
type wire struct {
	mu       sync.Mutex
	deaf     bool                            // nothing comes through
	away     bool                            // nothing can be sent either
	refuses  error                           // connections
	does     func(ctx context.Context) error // instead of listening
	connects int
	open     int
	heard    func(string)
	ready    func()
	cut      chan error
	sent     int
}

func (w *wire) Listen(ctx context.Context, _ string, ready func(), heard func(string)) error {
	w.mu.Lock()
	w.connects++
	w.open++
	refuses, does := w.refuses, w.does
	w.heard, w.ready, w.cut = heard, ready, make(chan error, 1)
	cut := w.cut
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
	}()
	if does != nil {
		return does(ctx)
	}
	if refuses != nil {
		return refuses
	}
	ready()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-cut:
		return err
	}
}

func (w *wire) send(_ context.Context, payload string) error {
	w.mu.Lock()
	heard, deaf := w.heard, w.deaf
	w.sent++
	away := w.away
	w.mu.Unlock()
	if away {
		return errors.New("no connection")
	}
	if !deaf && heard != nil {
		go heard(payload)
	}
	return nil
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

func (w *wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// An ear is a listener, with what it was told and what it says of itself.
type ear struct {
	*Listener
	wire   *wire
	mu     sync.Mutex
	told   []Message
	states []State
}

func newEar(t *testing.T) *ear {
	e := &ear{wire: new(wire)}
	sender := NewSender(e.wire.send, func(error) {})
	e.Listener = NewListener(e.wire, "channel", sender, DefaultTimes, func(m Message) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.told = append(e.told, m)
	}, func(s State) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.states = append(e.states, s)
	})
	t.Cleanup(func() {
		sender.Close()
		e.Close()
	})
	return e
}

func (e *ear) says(payload string) {
	e.wire.heard(payload)
	synctest.Wait()
}

func (e *ear) take() (told []Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	told, e.told = e.told, nil
	return told
}

func (e *ear) failures() (texts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.states {
		if s.Err != nil {
			texts = append(texts, s.Err.Error())
		}
	}
	e.states = nil
	return texts
}

func soon() { pass(interval) }

// Nothing is done before somebody needs it. Then it hears once its own notification has come; what others say is passed on, what is
// no message is not, and nor are its own.
func TestListenerHears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		soon()
		if e.wire.connects > 0 || e.Hears() {
			t.Fatal("it listens although nobody needs it")
		}
		defer e.Need()()
		soon()
		if !e.Hears() {
			t.Fatalf("it does not hear: %v", e.failures())
		}
		if diff := cmp.Diff([]Message{everything}, e.take()); diff != "" {
			t.Errorf("when it begins to hear (-want +got):\n%s", diff)
		}
		e.says(`{"from":"other","work":true}`)
		e.says("{broken")
		e.says("")
		e.says(`{"from":"` + e.sender.from + `","work":true,"runs":["own"]}`)
		e.says(`{"from":"other","runs":["a"]}`)
		want := []Message{{From: "other", Work: true}, {From: "other", Runs: []string{"a"}}}
		if diff := cmp.Diff(want, e.take()); diff != "" {
			t.Errorf("what others say (-want +got):\n%s", diff)
		}
	})
}

// A connection that listens and hears nothing is told of, in words that help, and tried again ever more rarely.
func TestListenerThatIsDeaf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		e.wire.deaf = true
		defer e.Need()()
		pass(DefaultTimes.Answer + interval)
		failures := e.failures()
		if len(failures) != 1 || !strings.Contains(failures[0], "direct connection") || !strings.Contains(failures[0], "pooler") || e.Hears() {
			t.Fatalf("failures %q, hears %v", failures, e.Hears())
		}
		pass(time.Hour)
		if n := e.wire.connects; n < 30 || n > 180 {
			t.Errorf("%d connections in an hour", n)
		}
		if e.wire.open > 1 {
			t.Errorf("%d connections are open", e.wire.open)
		}
		e.wire.set(func() { e.wire.deaf = false })
		pass(2 * DefaultTimes.RetryMax)
		if !e.Hears() {
			t.Error("it does not hear although it could")
		}
	})
}

// A connection that dies without a word is noticed within seconds; one that is cut, at once. What was missed is looked for.
func TestListenerThatIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		defer e.Need()()
		soon()
		e.take()
		e.wire.set(func() { e.wire.deaf = true })
		pass(DefaultTimes.Quiet + DefaultTimes.Answer + interval)
		if failures := e.failures(); e.Hears() || len(failures) == 0 || !strings.Contains(failures[0], "stopped to arrive") {
			t.Errorf("hears %v, failures %q", e.Hears(), failures)
		}
		if diff := cmp.Diff([]Message{everything}, e.take()); diff != "" {
			t.Errorf("when it no longer hears (-want +got):\n%s", diff)
		}
		e.wire.set(func() { e.wire.deaf = false })
		pass(2 * DefaultTimes.Answer)
		if !e.Hears() {
			t.Fatal("it has not recovered")
		}
		e.take()
		e.failures()
		e.wire.cut <- errors.New("terminated")
		synctest.Wait()
		if e.Hears() {
			t.Error("it hears although it is cut off")
		}
		pass(2 * DefaultTimes.Answer)
		if failures := e.failures(); !e.Hears() || len(failures) != 1 || failures[0] != "terminated" {
			t.Errorf("hears %v, failures %q", e.Hears(), failures)
		}
		if diff := cmp.Diff([]Message{everything, everything}, e.take()); diff != "" {
			t.Errorf("what it says then (-want +got):\n%s", diff)
		}
	})
}

// While others are heard there is no need for notifications of one's own; a quiet listener makes one every few seconds. One that
// cannot be sent proves nothing against the connection.
func TestListenerProvesItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		defer e.Need()()
		soon()
		before := e.wire.count()
		for range 600 {
			pass(time.Second)
			e.says(`{"from":"other"}`)
		}
		if n := e.wire.count() - before; n > 0 {
			t.Errorf("%d notifications although others were heard all the time", n)
		}
		before = e.wire.count()
		pass(10 * time.Minute)
		if n := e.wire.count() - before; n < 100 || n > 240 {
			t.Errorf("%d notifications in ten quiet minutes", n)
		}
		e.wire.set(func() { e.wire.away = true })
		pass(time.Minute)
		if !e.Hears() {
			t.Errorf("taken for deaf although nothing could be sent: %q", e.failures())
		}
	})
}

// A notifier is code of others: it may refuse, panic, end, or go on for ever.
func TestListenerOfABadNotifier(t *testing.T) {
	t.Parallel()
	forEver := make(chan struct{})
	for name, test := range map[string]struct {
		does func(ctx context.Context) error
		want string
	}{
		"refuses":        {func(context.Context) error { return errors.New("no such host") }, "no such host"},
		"panics":         {func(context.Context) error { panic("oops") }, "oops"},
		"ends":           {func(context.Context) error { return nil }, "no reason"},
		"goes away":      {func(context.Context) error { runtime.Goexit(); return nil }, "no reason"},
		"never connects": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "not connected in time"},
		"never returns":  {func(context.Context) error { <-forEver; return nil }, "not connected in time"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forEver = make(chan struct{})
				e := newEar(t)
				e.wire.does = test.does
				defer e.Need()()
				pass(DefaultTimes.Connect + leaveAfter + DefaultTimes.RetryMax)
				failures := e.failures()
				if len(failures) == 0 || !strings.Contains(failures[0], test.want) || e.Hears() {
					t.Errorf("failures %q", failures)
				}
				if e.wire.open > 1 {
					t.Errorf("%d connections are open", e.wire.open)
				}
				begun := time.Now()
				e.Close()
				if took := time.Since(begun); took > leaveAfter {
					t.Errorf("Close took %s", took)
				}
				close(forEver)
			})
		})
	}
}

// It goes on a while after nobody needs it any more, and is there again when somebody does.
func TestListenerRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		for i := range 3 {
			done, second := e.Need(), e.Need()
			soon()
			done()
			done()
			pass(2 * DefaultTimes.Linger)
			if e.wire.open != 1 || !e.Hears() {
				t.Fatalf("round %d: it rests although somebody needs it", i)
			}
			second()
			pass(DefaultTimes.Linger - time.Second)
			again := e.Need()
			pass(2 * DefaultTimes.Linger)
			if e.wire.connects != i+1 {
				t.Fatalf("round %d: %d connections", i, e.wire.connects)
			}
			again()
			pass(DefaultTimes.Linger + time.Second)
			if e.wire.open != 0 || e.Hears() {
				t.Fatalf("round %d: it does not rest", i)
			}
		}
		if failures := e.failures(); len(failures) > 0 {
			t.Errorf("failures %q", failures)
		}
		e.Close()
		e.Need()()
		if e.wire.connects != 3 {
			t.Error("it listens although it is closed")
		}
		none := NewListener(nil, "", NewSender(nil, nil), DefaultTimes, nil, nil)
		none.Need()()
		none.Close()
	})
}

// A notifier that connects anew by itself is told by its own voice again.
func TestListenerWhoseNotifierReconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEar(t)
		defer e.Need()()
		soon()
		e.take()
		e.wire.ready()
		soon()
		if diff := cmp.Diff([]Message{everything}, e.take()); diff != "" {
			t.Errorf("after a gap (-want +got):\n%s", diff)
		}
		e.wire.set(func() { e.wire.deaf = true })
		e.wire.ready()
		pass(DefaultTimes.Answer + interval)
		if failures := e.failures(); e.Hears() || len(failures) != 1 {
			t.Errorf("hears %v, failures %q", e.Hears(), failures)
		}
	})
}
