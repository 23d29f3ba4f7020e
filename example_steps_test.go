package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A page is fetched for each address, two at a time, and one that fails does not stop the others.
func ExampleParallel() {
	crawl := workflow.Define("crawl", func(ctx context.Context, urls []string) ([]string, error) {
		return workflow.Parallel(ctx, "fetch", urls, func(ctx context.Context, url string) (string, error) {
			return workflow.Do(ctx, "get", func(context.Context) (string, error) { return "<" + url + ">", nil })
		}, workflow.WithLimit(2))
	})
	svc, _, closeAll := working(crawl)
	defer closeAll()

	handle, err := crawl.Start(ctx, svc, []string{"a", "b", "c"})
	must(err)
	pages, err := handle.Result(ctx)
	must(err)
	fmt.Println(pages)
	step, err := svc.GetStepState(ctx, handle.RunID(), "fetch[1]/get")
	must(err)
	fmt.Println(step.Name, string(step.Result))
	// Output:
	// [<a> <b> <c>]
	// fetch[1]/get "<b>"
}

// Errors of items say which item they are of.
func ExampleItemError() {
	double := workflow.Define("double", func(ctx context.Context, numbers []int) (string, error) {
		doubled, err := workflow.Parallel(ctx, "double", numbers, func(_ context.Context, n int) (int, error) {
			if n < 0 {
				return 0, errors.New("it is negative")
			}
			return 2 * n, nil
		})
		if errors.Is(err, workflow.ErrInterrupted) {
			return "", err
		}
		var item *workflow.ItemError
		if errors.As(err, &item) {
			return fmt.Sprint(doubled, " but for number ", item.Index, ": ", item.Err), nil
		}
		return fmt.Sprint(doubled), err
	})
	svc, _, closeAll := working(double)
	defer closeAll()

	handle, err := double.Start(ctx, svc, []int{1, -2, 3})
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: [2 0 6] but for number 1: it is negative
}

// The step is inserted for runs that have not come to it yet; the others go the old way.
func ExamplePatched() {
	var deployed bool // stands for two releases of the program
	checkout := workflow.Define("checkout", func(ctx context.Context, order string) (string, error) {
		price := "net"
		if deployed && workflow.Patched(ctx, "tax-2027") {
			var err error
			if price, err = workflow.Do(ctx, "tax", func(context.Context) (string, error) { return "gross", nil }); err != nil {
				return "", err
			}
		}
		if _, err := workflow.Do(ctx, "charge", func(context.Context) (bool, error) { return true, nil }); err != nil {
			return "", err
		}
		return workflow.Do(ctx, "ship", func(context.Context) (string, error) {
			if !deployed {
				return "", workflow.Final(errors.New("the parcel service has a new interface"))
			}
			return order + " " + price, nil
		})
	})
	svc, _, closeAll := working(checkout)
	defer closeAll()

	older, err := checkout.Start(ctx, svc, "order 17")
	must(err)
	_, err = older.Result(ctx)
	fmt.Println(err != nil)

	deployed = true
	must(svc.Resume(ctx, older.RunID()))
	newer, err := checkout.Start(ctx, svc, "order 18")
	must(err)
	for _, handle := range []*workflow.Handle[string]{older, newer} {
		text, err := handle.Result(ctx)
		must(err)
		fmt.Println(text)
	}
	// Output:
	// true
	// order 17 net
	// order 18 gross
}

// The provider says when to ask again.
func ExampleRetryAfter() {
	ask := workflow.Define("ask", func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "ask", func(ctx context.Context) (string, error) {
			if workflow.Attempt(ctx) == 1 { // with the header Retry-After
				return "", workflow.RetryAfter(errors.New("too many requests"), 10*time.Millisecond)
			}
			return fmt.Sprint("answered at attempt ", workflow.Attempt(ctx)), nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Hour})) // else it would be an hour
	})
	svc, _, closeAll := working(ask)
	defer closeAll()

	handle, err := ask.Start(ctx, svc, 0)
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: answered at attempt 2
}

// A step that is to succeed some day.
func ExampleWithRetry() {
	persist := workflow.Define("persist", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "try", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) < 8 {
				return 0, errors.New("not yet")
			}
			return workflow.Attempt(ctx), nil
		}, workflow.WithRetry(workflow.RetryPolicy{
			MaxAttempts: workflow.Unlimited, FirstDelay: time.Millisecond, MaxDelay: 4 * time.Millisecond,
		}))
	})
	svc, _, closeAll := working(persist)
	defer closeAll()

	handle, err := persist.Start(ctx, svc, 0)
	must(err)
	attempts, err := handle.Result(ctx)
	must(err)
	fmt.Println(attempts, "attempts")
	// Output: 8 attempts
}

// Steps that say nothing about attempts have those of the service.
func ExampleConfig_retry() {
	hopeless := workflow.Define("hopeless", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "try", func(context.Context) (int, error) { return 0, errors.New("it never works") })
	})
	svc, _, closeAll := workingWith(workflow.Config{
		Retry: workflow.RetryPolicy{MaxAttempts: 2, FirstDelay: time.Millisecond},
	}, hopeless)
	defer closeAll()

	handle, err := hopeless.Start(ctx, svc, 0)
	must(err)
	_, err = handle.Result(ctx)
	fmt.Println(err != nil)
	step, err := svc.GetStepState(ctx, handle.RunID(), "try")
	must(err)
	fmt.Println(step.Attempts.Count, "attempts:", step.Err)
	// Output:
	// true
	// 2 attempts: it never works
}
