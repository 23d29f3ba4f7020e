package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// printer says what happens. It is called by one goroutine alone, so it may write to what it likes.
type printer struct{ lines strings.Builder }

func (p *printer) Observe(e workflow.Event) {
	switch e.Kind {
	case workflow.EventStepSucceeded, workflow.EventStepRetried:
		fmt.Fprintf(&p.lines, "%s %s/%s, attempt %d\n", e.Kind, e.Workflow, e.Step, e.Attempt)
	case workflow.EventRunClaimed, workflow.EventRunCompleted:
		fmt.Fprintf(&p.lines, "%s %s\n", e.Kind, e.Workflow)
	}
}

// An observer is told of all that happens to runs and steps in its process. The module otelworkflow has one for OpenTelemetry.
func ExampleObserver() {
	charge := workflow.Define("order", func(ctx context.Context, cents int) (int, error) {
		return workflow.Do(ctx, "charge", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) == 1 {
				return 0, &workflow.Error{Code: "busy", Message: "the bank is busy"}
			}
			return cents, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Millisecond}))
	})
	told := new(printer)
	svc, _, closeAll := workingWith(workflow.Config{Observer: told}, charge)
	handle, err := charge.Start(ctx, svc, 1999)
	must(err)
	_, err = handle.Result(ctx)
	must(err)
	closeAll() // which waits until all is told
	fmt.Print(told.lines.String())
	// Output:
	// run_claimed order
	// step_retried order/charge, attempt 1
	// step_succeeded order/charge, attempt 2
	// run_completed order
}

// tickets hands a ticket from whoever starts a run to the functions that are called for it.
type tickets struct{ *printer }

type ticketKey struct{}

func (tickets) Inject(ctx context.Context, _ workflow.Event) map[string]string {
	if ticket, ok := ctx.Value(ticketKey{}).(string); ok {
		return map[string]string{"ticket": ticket}
	}
	return nil
}

func (tickets) Begin(ctx context.Context, e workflow.Event) (context.Context, func(workflow.Event)) {
	if e.Kind != workflow.EventRunClaimed { // a step's context has what its run's has
		return ctx, nil
	}
	return context.WithValue(ctx, ticketKey{}, e.Trace["ticket"]), nil
}

// A tracer has a say in the contexts of functions, in whatever process they are called.
func ExampleTracer() {
	order := workflow.Define("order", func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) {
			ticket, ok := ctx.Value(ticketKey{}).(string)
			if !ok {
				return "", errors.New("there is no ticket")
			}
			return "charged for " + ticket, nil
		})
	})
	svc, _, closeAll := workingWith(workflow.Config{Observer: tickets{new(printer)}}, order)
	defer closeAll()
	handle, err := order.Start(context.WithValue(ctx, ticketKey{}, "ticket 42"), svc, 1999)
	must(err)
	fmt.Println(handle.Result(ctx))
	// Output: charged for ticket 42 <nil>
}
