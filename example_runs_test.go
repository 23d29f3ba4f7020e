package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

func ExampleHandle_Cancel() {
	wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "for the customer", 24*time.Hour)
	})
	svc, _, closeAll := working(wait)
	defer closeAll()

	handle, err := wait.Start(ctx, svc, 0)
	must(err)
	must(handle.Cancel(ctx))
	_, err = handle.Result(ctx)
	fmt.Println(errors.Is(err, workflow.ErrRunCancelled))
	// Output: true
}

// A run that somebody else has started, of a type that is not known here.
func ExampleService_AwaitRun() {
	square := workflow.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	svc, _, closeAll := working(square)
	defer closeAll()

	_, err := square.Start(ctx, svc, 7, workflow.WithRunID("seven"))
	must(err)
	run, err := svc.AwaitRun(ctx, "seven")
	must(err)
	fmt.Println(run.Workflow, run.Status, string(run.Output))
	// Output: square completed 49
}

// A failed step may be handled; an interruption is passed on, for the run is not over.
func Example_interrupted() {
	pay := workflow.Define("pay", func(ctx context.Context, order string) (string, error) {
		paid, err := workflow.Do(ctx, "charge the card", func(context.Context) (string, error) {
			return "", workflow.Final(&workflow.Error{Code: "card_declined", Message: "the bank said no"})
		})
		switch {
		case err == nil:
			return paid, nil
		case errors.Is(err, workflow.ErrInterrupted): // parked, its worker is stopping, or it goes on elsewhere
			return "", err
		case errors.Is(err, workflow.Code("card_declined")):
			return workflow.Do(ctx, "send an invoice", func(context.Context) (string, error) { return "invoice for " + order, nil })
		default:
			return "", err
		}
	})
	svc, _, closeAll := working(pay)
	defer closeAll()

	handle, err := pay.Start(ctx, svc, "order 17")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: invoice for order 17
}

// Codes are errors: those of this package and those of the application compare alike.
func ExampleCode() {
	const outOfStock workflow.Code = "out_of_stock"
	fails := workflow.Define("fails", func(_ context.Context, how string) (int, error) {
		switch how {
		case "by itself":
			return 0, &workflow.Error{Code: outOfStock, Message: "no mugs are left"}
		default:
			panic(how)
		}
	})
	svc, _, closeAll := working(fails)
	defer closeAll()

	for _, how := range []string{"by itself", "in a panic"} {
		handle, err := fails.Start(ctx, svc, how)
		must(err)
		_, err = handle.Result(ctx)
		var failed *workflow.RunError
		fmt.Println(errors.As(err, &failed), errors.Is(err, outOfStock), errors.Is(err, workflow.CodePanic), failed.Err.Code)
	}
	// Output:
	// true true false out_of_stock
	// true false true panic
}

// Whoever waits in vain is told what the run was waiting for.
func ExampleHandle_Result() {
	nobody := workflow.Define[int, int]("nobody's", nil) // this process starts it only
	svc, _, closeAll := newService()
	defer closeAll()

	handle, err := nobody.Start(ctx, svc, 0, workflow.WithRunID("n"))
	must(err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = handle.Result(short)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	_, reason, _ := strings.Cut(err.Error(), "; ")
	fmt.Println(reason)
	// Output:
	// true
	// no worker is alive to execute workflow "nobody's": is Service.Work running anywhere?
}

// A step that has not come back is told from outside, with the process that it hangs in.
func ExampleService_StepsInFlight() {
	release := make(chan struct{})
	slow := workflow.Define("slow", func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "charge", func(context.Context) (string, error) { <-release; return "charged", nil })
	})
	svc, _, closeAll := workingWith(workflow.Config{Lease: time.Second}, slow) // the default lease tells a step after 5 to 10 s
	defer closeAll()

	handle, err := slow.Start(ctx, svc, 0, workflow.WithRunID("order 17"))
	must(err)
	var steps []workflow.StepInFlight
	for look := time.Tick(20 * time.Millisecond); len(steps) == 0; <-look {
		steps, err = svc.StepsInFlight(ctx, "") // of all runs
		must(err)
	}
	for _, step := range steps {
		fmt.Println(step.RunID, step.Step, step.For > 100*time.Millisecond, step.PID == os.Getpid())
	}
	close(release)
	_, err = handle.Result(ctx)
	must(err)
	// Output: order 17 charge true true
}
