package workflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A wait that the deadline ends returns this package's error, as any other step does.
func TestSleepBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := make(chan error, 1)
	w := workflow.Define("late", func(ctx context.Context, _ int) (int, error) {
		err := workflow.Sleep(ctx, "nap", 4*time.Second)
		got <- err
		return 0, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	_, err := w.Start(t.Context(), b.svc, 0, workflow.WithDeadline(time.Second))
	kit.Must(t, err)
	var own *workflow.Error
	if err := kit.Receive(t, "the end of the sleep", got); !errors.As(err, &own) || own.Code != workflow.CodeDeadline {
		t.Errorf("a sleep beyond the deadline: %T %v, want an *Error with its code", err, err)
	}
}
