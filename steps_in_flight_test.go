package workflow_test

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Any process can tell what hangs where, while it hangs.
func TestStepsInFlight(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	wait := func(context.Context) (int, error) { <-release; return 0, nil }
	w := workflow.Define("slow", func(ctx context.Context, _ int) (int, error) {
		if _, err := workflow.Do(ctx, "quick", func(context.Context) (int, error) { return 1, nil }); err != nil {
			return 0, err
		}
		other := kit.Go(t, func() error {
			_, err := workflow.DoTx(workflow.Branch(ctx, "b"), "tx", func(ctx context.Context, _ *sql.Tx) (int, error) { return wait(ctx) })
			return err
		})
		if _, err := workflow.Do(workflow.Branch(ctx, "a"), "plain", wait); err != nil {
			return 0, err
		}
		return 0, kit.Receive(t, "the other branch", other)
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)

	elsewhere := b.service()
	var steps []workflow.StepInFlight
	kit.Until(t, "both steps are published", func() bool {
		steps, err = elsewhere.StepsInFlight(t.Context(), handle.RunID())
		kit.Must(t, err)
		return len(steps) == 2
	})
	run := b.get(handle.RunID())
	host, err := os.Hostname()
	kit.Must(t, err)
	got := map[string]bool{}
	for _, s := range steps {
		got[s.Step] = true
		want := workflow.StepInFlight{
			RunID: run.ID, Step: s.Step, Since: s.Since, For: s.For, Worker: run.Owner, Host: host, PID: os.Getpid(),
		}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("step (-want +got):\n%s", diff)
		}
		if s.Since.Before(run.CreatedAt) || s.For < testLease/6 {
			t.Errorf("%s is in flight since %s, for %s; its run was created at %s", s.Step, s.Since, s.For, run.CreatedAt)
		}
	}
	if diff := cmp.Diff(map[string]bool{"a/plain": true, "b/tx": true}, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if all, err := elsewhere.StepsInFlight(t.Context(), ""); err != nil || len(all) != 2 {
		t.Errorf("of all runs: %v, %v", all, err)
	}
	if _, err := elsewhere.StepsInFlight(t.Context(), "\x00"); err == nil {
		t.Error("a bad id was taken")
	}

	free()
	_, err = handle.Result(kit.Within(t, 60*time.Second))
	kit.Must(t, err)
	if all, err := elsewhere.StepsInFlight(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("after the end: %v, %v", all, err)
	}
}
