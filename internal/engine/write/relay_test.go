package write

import (
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type listener func(Event)

func (l listener) Observe(e Event) { l(e) }

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), word)
}

// Events are told in their order. One at which the observer panics or ends its goroutine is lost, and no other; the log has how many there
// were, once a minute.
func TestRelayOutlivesTheObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []int
		log := new(lines)
		o := NewObserver(slog.New(slog.NewTextHandler(log, nil)), listener(func(e Event) {
			told = append(told, e.Attempt)
			switch e.Attempt % 3 {
			case 1:
				panic("no")
			case 2:
				runtime.Goexit()
			}
		}))
		for n := range 9 {
			o.Observe(Event{Kind: StepStarted, Attempt: n})
			o.Observe(Event{Kind: RunsPruned, Attempt: 100}) // which only the log has
		}
		o.Settle(time.Hour)
		synctest.Wait()
		for n := range 9 {
			if len(told) != 9 || told[n] != n {
				t.Fatalf("told %v", told)
			}
		}
		if got := log.count("events=1 error=\"the observer panicked: no\""); got != 1 {
			t.Errorf("the log has %d lines about a panic:\n%s", got, log.text.String())
		}
		time.Sleep(reportEvery)
		synctest.Wait()
		o.Observe(Event{Kind: StepStarted, Attempt: 10})
		o.Settle(time.Hour)
		if got := log.count("events=3 error="); got != 1 {
			t.Errorf("the log does not have the three of before:\n%s", log.text.String())
		}
	})
}

// An observer that hangs costs memory up to a bound, and nobody else's time.
func TestRelayIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told, leave := 0, make(chan struct{})
		log := new(lines)
		o := NewObserver(slog.New(slog.NewTextHandler(log, nil)), listener(func(Event) {
			<-leave
			told++
		}))
		began := time.Now()
		o.Observe(Event{Kind: StepStarted})
		synctest.Wait() // it hangs at this one
		for range maxWaiting + 5 {
			o.Observe(Event{Kind: StepStarted})
		}
		if time.Since(began) > 0 || log.count("events=1") != 1 {
			t.Errorf("after %s the log has\n%s", time.Since(began), log.text.String())
		}
		o.Settle(time.Second)
		if since := time.Since(began); since != time.Second {
			t.Errorf("settled after %s", since)
		}
		close(leave)
		o.Settle(time.Hour)
		if since := time.Since(began); since != time.Second || told != maxWaiting+1 {
			t.Errorf("told of %d events after %s", told, since)
		}
	})
}
