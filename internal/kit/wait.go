package kit

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Context returns one that ends after [Patience], whether or not the test has ended by then.
func Context(t testing.TB) context.Context { return Within(t, Patience) }

// Within returns a context that ends after d, for what must happen sooner, or must not.
func Within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// Until asks until the answer is yes: often at first, then every 20 ms, since to ask is mostly a query.
func Until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	late, pause := time.After(Patience), 2*time.Millisecond
	for !happened() {
		select {
		case <-time.After(pause):
			pause = min(pause+pause/4, 20*time.Millisecond)
		case <-late:
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Receive waits for a value, or for the end of a channel.
func Receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(Patience):
		t.Fatalf("not within %s: %s", Patience, what)
	}
	return v
}

// Pause lets d pass, or less if ctx ends first. It is for tests that shift the moments of a race, and for user code that is
// busy: never for waiting until something has happened.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Go runs f in a goroutine that the test waits for.
func Go[T any](t testing.TB, f func() T) <-chan T {
	t.Helper()
	ended, answer := make(chan struct{}), make(chan T, 1)
	go func() {
		defer close(ended)
		answer <- f()
	}()
	t.Cleanup(func() { Receive(t, "the end of a goroutine of the test", ended) })
	return answer
}

// Together runs f in n goroutines that begin at once, and returns their errors.
func Together(n int, f func(i int) error) []error {
	errs, begin := make([]error, n), make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	running.Wait()
	return errs
}

// Work makes a service work until the test ends, or until stop is called, which waits for that.
func Work(t testing.TB, svc interface {
	Work(ctx context.Context) error
}) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- svc.Work(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := Receive(t, "the end of Work", ended); err != nil {
			t.Errorf("work: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}
