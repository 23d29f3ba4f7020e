package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A workflow calls another one, which may be executed by any process that knows it.
func ExampleCall() {
	pack := workflow.Define("pack", func(_ context.Context, item string) (string, error) { return "a box with " + item, nil })
	order := workflow.Define("order", func(ctx context.Context, item string) (string, error) {
		box, err := workflow.Call(ctx, "pack", pack, item, workflow.WithDeadline(time.Hour))
		if err != nil {
			return "", err
		}
		return "shipped " + box, nil
	})
	svc, _, closeAll := working(order, pack)
	defer closeAll()

	handle, err := order.Start(ctx, svc, "mugs")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: shipped a box with mugs
}

// A run that failed is a *RunError, and its code is found with errors.Is.
func ExampleCall_failure() {
	charge := workflow.Define("charge", func(ctx context.Context, cents int) (string, error) {
		return workflow.Do(ctx, "ask the bank", func(context.Context) (string, error) {
			return "", workflow.Final(&workflow.Error{Code: "card_declined", Message: "the bank said no"})
		})
	})
	order := workflow.Define("order", func(ctx context.Context, cents int) (string, error) {
		receipt, err := workflow.Call(ctx, "charge", charge, cents)
		var failed *workflow.RunError
		switch {
		case errors.Is(err, workflow.Code("card_declined")) && errors.As(err, &failed):
			return fmt.Sprintf("invoice, since in step %q %s", failed.Err.Step, failed.Err.Message), nil
		case err != nil:
			return "", err
		}
		return receipt, nil
	})
	svc, _, closeAll := workingWith(quiet, order, charge)
	defer closeAll()

	handle, err := order.Start(ctx, svc, 1999)
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: invoice, since in step "ask the bank" the bank said no
}

// A run for each of many inputs; one that fails does not stop the others.
func ExampleCallAll() {
	fetch := workflow.Define("fetch", func(_ context.Context, url string) (int, error) {
		if url == "" {
			return 0, &workflow.Error{Code: "no_url", Message: "no URL was given"}
		}
		return len(url), nil
	})
	crawl := workflow.Define("crawl", func(ctx context.Context, urls []string) (string, error) {
		results, err := workflow.CallAll(ctx, "fetch", fetch, urls)
		if err != nil {
			return "", err
		}
		total, failed := 0, 0
		for _, result := range results { // in the order of the URLs
			if result.Err != nil {
				failed++
				continue
			}
			total += result.Value
		}
		return fmt.Sprintf("%d bytes, %d failed", total, failed), nil
	})
	svc, _, closeAll := workingWith(quiet, crawl, fetch)
	defer closeAll()

	handle, err := crawl.Start(ctx, svc, []string{"example.com", "", "example.org"})
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: 22 bytes, 1 failed
}

// A run that nobody waits for, and that goes on even if the order is cancelled.
func ExampleSpawn() {
	audit := workflow.Define("audit", func(_ context.Context, order string) (string, error) { return "checked order " + order, nil })
	order := workflow.Define("order", func(ctx context.Context, number string) (string, error) {
		handle, err := workflow.Spawn(ctx, "audit", audit, number, workflow.WithDelay(time.Millisecond), workflow.Abandon())
		if err != nil {
			return "", err
		}
		return handle.RunID(), nil
	})
	svc, _, closeAll := working(order, audit)
	defer closeAll()

	handle, err := order.Start(ctx, svc, "17")
	must(err)
	id, err := handle.Result(ctx)
	must(err)
	text, err := audit.Handle(svc, id).Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: checked order 17
}

// A step that another process executes: here the two share a database, and each registers what it knows.
func ExampleDefineStep() {
	resize := workflow.DefineStep("resize", func(_ context.Context, image string) (string, error) {
		return image + " at 640x480", nil
	}, workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 3}))
	album := workflow.Define("album", func(ctx context.Context, image string) (string, error) {
		return workflow.Call(ctx, "resize", resize, image)
	})
	svc, db, closeAll := working(album)
	defer closeAll()

	other, err := workflow.New(workflow.Config{DB: db})
	must(err)
	defer other.Close()
	other.Register(resize)
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- other.Work(working) }()

	handle, err := album.Start(ctx, svc, "cat.png")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	stop()
	must(<-done)
	// Output: cat.png at 640x480
}

// The start of a run may not be asked for again and again.
func ExampleWorkflow_Start_inAWorkflow() {
	mail := workflow.Define("mail", func(context.Context, string) (int, error) { return 0, nil })
	var svc *workflow.Service
	order := workflow.Define("order", func(ctx context.Context, _ int) (bool, error) {
		_, err := mail.Start(ctx, svc, "zoe@example.com")
		return errors.Is(err, workflow.ErrStartOutsideStep), nil
	})
	svc, _, closeAll := working(order, mail)
	defer closeAll()

	handle, err := order.Start(ctx, svc, 0)
	must(err)
	refused, err := handle.Result(ctx)
	must(err)
	fmt.Println(refused)
	// Output: true
}

// A worker in any language answers with a statement; here the state API sends it.
func ExampleState_SetStepResult() {
	svc, closeAll, handle := waitingForARemoteStep()
	defer closeAll()

	must(svc.SetStepResult(ctx, handle.RunID(), "translate", "un mug"))

	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: un mug
}

// waitingForARemoteStep has a run that calls what no process of ours knows.
func waitingForARemoteStep() (svc *workflow.Service, closeAll func(), handle *workflow.Handle[string]) {
	translate := workflow.Define[string, string]("translate", nil)
	order := workflow.Define("order", func(ctx context.Context, item string) (string, error) {
		return workflow.Call(ctx, "translate", translate, item)
	})
	svc, _, closeAll = workingWith(quiet, order)
	handle, err := order.Start(ctx, svc, "a mug")
	must(err)
	for {
		step, err := svc.GetStepState(ctx, handle.RunID(), "translate")
		must(err)
		if step.Status == workflow.StepScheduled {
			return svc, closeAll, handle
		}
	}
}
