package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// The children of a fan-out begin in the process that started them as soon as there are slots, all of them: no poll is waited for.
func TestFanOutBeginsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(func(c *workflow.Config) { c.Concurrency, c.PollInterval = 7, time.Hour })
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
		inputs, sum := make([]int, n), 0
		for i := range inputs {
			inputs[i] = i
		}
		children, err := workflow.CallAll(ctx, "children", child, inputs)
		for _, c := range children {
			sum += c.Value
		}
		return sum, err
	})
	svc.Register(child, parent)
	kit.Work(t, svc)
	handle, err := parent.Start(t.Context(), svc, 120)
	kit.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if sum, err := handle.Result(ctx); err != nil || sum != 119*120/2 {
		t.Errorf("%d, %v", sum, err)
	}
}
