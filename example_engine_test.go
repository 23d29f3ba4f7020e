package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sqlworkflow/workflow"
)

// working is newService with a worker.
func working(definitions ...workflow.Definition) (svc *workflow.Service, db *sql.DB, closeAll func()) {
	return workingWith(workflow.Config{}, definitions...)
}

// workingWith is working with a configuration.
func workingWith(config workflow.Config, definitions ...workflow.Definition) (svc *workflow.Service, db *sql.DB, closeAll func()) {
	svc, db, closeService := newServiceWith(config)
	svc.Register(definitions...)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- svc.Work(ctx) }()
	return svc, db, func() {
		stop()
		must(<-done)
		closeService()
	}
}

// An attempt that fails is followed by another; a final error is not.
func ExampleDo_retry() {
	fetch := workflow.Define("fetch", func(ctx context.Context, url string) (string, error) {
		return workflow.Do(ctx, "get", func(ctx context.Context) (string, error) {
			if workflow.Attempt(ctx) < 3 {
				return "", errors.New("the server is busy")
			}
			return fmt.Sprintf("%s at attempt %d", url, workflow.Attempt(ctx)), nil
		}, workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 10, FirstDelay: time.Millisecond}))
	})
	svc, _, closeAll := working(fetch)
	defer closeAll()

	handle, err := fetch.Start(ctx, svc, "example.com")
	must(err)
	page, err := handle.Result(ctx)
	must(err)
	fmt.Println(page)
	// Output: example.com at attempt 3
}

// The stock and the step's record change together, or not at all.
func ExampleDoTx() {
	book := workflow.Define("book", func(ctx context.Context, quantity int) (int, error) {
		return workflow.DoTx(ctx, "book", func(ctx context.Context, tx *sql.Tx) (left int, err error) {
			err = tx.QueryRowContext(ctx, "UPDATE stock SET left_over = left_over - $1 RETURNING left_over", quantity).Scan(&left)
			return left, err
		})
	})
	svc, db, closeAll := working(book)
	defer closeAll()
	_, err := db.Exec("CREATE TABLE stock AS SELECT 10 AS left_over")
	must(err)

	handle, err := book.Start(ctx, svc, 3)
	must(err)
	left, err := handle.Result(ctx)
	must(err)
	fmt.Println(left, "left")
	// Output: 7 left
}

func ExampleSleep() {
	remind := workflow.Define("remind", func(ctx context.Context, who string) (string, error) {
		if err := workflow.Sleep(ctx, "wait", 20*time.Millisecond); err != nil { // or a month
			return "", err
		}
		return workflow.Do(ctx, "mail", func(context.Context) (string, error) { return "reminded " + who, nil })
	})
	svc, _, closeAll := working(remind)
	defer closeAll()

	handle, err := remind.Start(ctx, svc, "Zoë")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: reminded Zoë
}

// Goroutines of one run have a branch each.
func ExampleBranch() {
	sum := workflow.Define("sum", func(ctx context.Context, parts []int) (int, error) {
		group, ctx := errgroup.WithContext(ctx)
		squares := make([]int, len(parts))
		for i, part := range parts {
			branch := workflow.Branch(ctx, fmt.Sprint(i))
			group.Go(func() (err error) {
				squares[i], err = workflow.Do(branch, "square", func(context.Context) (int, error) { return part * part, nil })
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return 0, err
		}
		return squares[0] + squares[1] + squares[2], nil
	})
	svc, _, closeAll := working(sum)
	defer closeAll()

	handle, err := sum.Start(ctx, svc, []int{1, 2, 3})
	must(err)
	total, err := handle.Result(ctx)
	must(err)
	steps, err := svc.ListSteps(ctx, handle.RunID())
	must(err)
	fmt.Println(total, "in", len(steps), "steps")
	// Output: 14 in 3 steps
}

// The order and its run exist together or not at all.
func ExampleWorkflow_Start() {
	ship := workflow.Define("ship", func(ctx context.Context, order string) (string, error) { return "shipped " + order, nil })
	svc, db, closeAll := working(ship)
	defer closeAll()
	_, err := db.Exec("CREATE TABLE orders (number TEXT PRIMARY KEY)")
	must(err)

	tx, err := db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("INSERT INTO orders VALUES ('17')")
	must(err)
	handle, err := ship.Start(ctx, svc.In(tx), "17", workflow.WithRunID("order 17"))
	must(err)
	must(tx.Commit())

	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: shipped 17
}

func ExampleService_Cancel() {
	wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "long", 24*time.Hour)
	})
	svc, _, closeAll := working(wait)
	defer closeAll()

	handle, err := wait.Start(ctx, svc, 0)
	must(err)
	must(svc.Cancel(ctx, handle.RunID()))
	_, err = handle.Result(ctx)
	fmt.Println(errors.Is(err, workflow.ErrRunCancelled))
	// Output: true
}

// What had succeeded before the failure is not done again.
func ExampleService_Resume() {
	mended := false
	flaky := workflow.Define("flaky", func(ctx context.Context, _ int) (string, error) {
		if _, err := workflow.Do(ctx, "first", func(context.Context) (bool, error) {
			fmt.Println("first")
			return true, nil
		}); err != nil {
			return "", err
		}
		return workflow.Do(ctx, "second", func(context.Context) (string, error) {
			if !mended {
				return "", workflow.Final(errors.New("not configured"))
			}
			return "second", nil
		})
	})
	svc, _, closeAll := working(flaky)
	defer closeAll()

	handle, err := flaky.Start(ctx, svc, 0, workflow.WithRunID("f"))
	must(err)
	_, err = handle.Result(ctx)
	fmt.Println(err)

	mended = true
	must(svc.Resume(ctx, handle.RunID()))
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output:
	// first
	// run "f" failed in step "second": not configured
	// second
}

// A provider that is asked twice with the same key charges once.
func ExampleIdempotencyKey() {
	var keys []string
	charge := workflow.Define("charge", func(ctx context.Context, cents int) (string, error) {
		return workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) {
			keys = append(keys, workflow.IdempotencyKey(ctx)) // a real step gives it to its provider
			if workflow.Attempt(ctx) == 1 {
				return "", errors.New("the answer was lost")
			}
			return "charged", nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Millisecond}))
	})
	svc, _, closeAll := working(charge)
	defer closeAll()

	handle, err := charge.Start(ctx, svc, 1999)
	must(err)
	answer, err := handle.Result(ctx)
	must(err)
	fmt.Println(answer, "with the same key each time:", keys[0] == keys[1])
	// Output: charged with the same key each time: true
}

func ExampleWithDeadline() {
	wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "for the customer", 24*time.Hour)
	})
	svc, _, closeAll := working(wait)
	defer closeAll()

	handle, err := wait.Start(ctx, svc, 0, workflow.WithDeadline(50*time.Millisecond))
	must(err)
	_, err = handle.Result(ctx)
	fmt.Println(errors.Is(err, workflow.CodeDeadline))
	// Output: true
}

// What a workflow's function logs is written once, however often the function is called again.
func ExampleLogger() {
	greet := workflow.Define("greet", func(ctx context.Context, name string) (string, error) {
		workflow.Logger(ctx).Info("greeting", "name", name)
		return workflow.Do(ctx, "compose", func(ctx context.Context) (string, error) {
			workflow.Logger(ctx).Info("composing") // inside a step the line names that too
			return "Hello, " + name, nil
		})
	})
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTimes}))
	svc, _, closeAll := workingWith(workflow.Config{Logger: log}, greet)
	defer closeAll()

	handle, err := greet.Start(ctx, svc, "Zoë", workflow.WithRunID("g"))
	must(err)
	_, err = handle.Result(ctx)
	must(err)
	// Output:
	// level=INFO msg="worker began" workflows=[greet]
	// level=INFO msg=greeting run_id=g workflow=greet name=Zoë
	// level=INFO msg=composing run_id=g workflow=greet step=compose attempt=1
}

// withoutTimes leaves out what is different each time.
func withoutTimes(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "worker" {
		return slog.Attr{}
	}
	return a
}

// quiet is for examples in which runs fail, which they would log.
var quiet = workflow.Config{Logger: slog.New(slog.DiscardHandler)}
