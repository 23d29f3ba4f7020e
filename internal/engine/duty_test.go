package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
)

// A turn comes at the early time that the duty was told, also when an ordinary turn comes before that.
func TestDutyComesEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Second // jittered: from 5 s to 15 s
		early := make(chan time.Duration, 1)
		var mu sync.Mutex
		var turns []time.Duration
		began := time.Now()
		d := &duty{every: every, bound: time.Second, early: early, do: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			turns = append(turns, time.Since(began))
			return nil
		}}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
		defer stop()
		go d.keep(ctx, write.NewObserver(slog.New(slog.DiscardHandler), nil))
		for n := range 60 { // told at different moments between two turns
			at := time.Duration(n)*17*time.Second + 3*time.Second
			time.Sleep(at - time.Since(began))
			early <- 9 * time.Second
			due := at + 9*time.Second + earlyMargin
			time.Sleep(due + time.Millisecond - time.Since(began))
			synctest.Wait()
			mu.Lock()
			if !slices.Contains(turns, due) {
				t.Errorf("told at %s: no turn at %s: %v", at, due, turns[max(0, len(turns)-3):])
			}
			mu.Unlock()
		}
		stop()
		synctest.Wait()
	})
}
