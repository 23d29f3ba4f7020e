package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

type Payment struct {
	Cents int `json:"cents"`
}

// An order waits for its payment. Whether that comes before or after the run waits for it makes no difference.
func ExampleSignal() {
	paid := workflow.DefineSignal[Payment]("paid")
	order := workflow.Define("order", func(ctx context.Context, number string) (string, error) {
		payment, err := paid.Wait(ctx, 72*time.Hour) // a row in the database meanwhile
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("order %s: %d cents", number, payment.Cents), nil
	})
	svc, _, closeAll := working(order)
	defer closeAll()

	handle, err := order.Start(ctx, svc, "17", workflow.WithRunID("order 17"))
	must(err)
	must(paid.Send(ctx, svc, "order 17", Payment{Cents: 1999}))

	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: order 17: 1999 cents
}

// A webhook may come twice. The signal joins the transaction in which the application notes it, and is sent once.
func ExampleSignal_Send() {
	paid := workflow.DefineSignal[Payment]("paid")
	order := workflow.Define("order", func(ctx context.Context, _ int) (int, error) {
		payment, err := paid.Wait(ctx, 0) // for ever
		return payment.Cents, err
	})
	svc, db, closeAll := working(order)
	defer closeAll()
	_, err := db.Exec("CREATE TABLE webhooks (id TEXT, body TEXT)")
	must(err)
	handle, err := order.Start(ctx, svc, 0)
	must(err)

	for range 2 {
		tx, err := db.BeginTx(ctx, nil)
		must(err)
		_, err = tx.Exec("INSERT INTO webhooks VALUES ('evt_1', '1999')")
		must(err)
		must(paid.Send(ctx, svc.In(tx), handle.RunID(), Payment{Cents: 1999}, workflow.WithKey("evt_1"))) // last: it holds the run until the commit
		must(tx.Commit())
	}
	svc.Wake()

	cents, err := handle.Result(ctx)
	must(err)
	signals, err := svc.ListSignals(ctx, handle.RunID())
	must(err)
	fmt.Println(cents, "cents by", len(signals), "signal, taken by step", signals[0].TakenBy)
	err = paid.Send(ctx, svc, handle.RunID(), Payment{Cents: 1})
	fmt.Println("too late:", errors.Is(err, workflow.ErrRunFinished))
	// Output:
	// 1999 cents by 1 signal, taken by step paid
	// too late: true
}

// Nobody pays within the time limit, which is counted by the database's clock from when the run first waited.
func ExampleSignal_Wait() {
	paid := workflow.DefineSignal[Payment]("paid")
	order := workflow.Define("order", func(ctx context.Context, number string) (string, error) {
		_, err := paid.Wait(ctx, 50*time.Millisecond) // or three days
		switch {
		case errors.Is(err, workflow.ErrTimeout):
			return workflow.Do(ctx, "remind", func(context.Context) (string, error) { return "reminded of order " + number, nil })
		case err != nil: // perhaps the run is parked until something comes, and its function is called again then
			return "", err
		}
		return "paid", nil
	})
	svc, _, closeAll := working(order)
	defer closeAll()

	handle, err := order.Start(ctx, svc, "17")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: reminded of order 17
}

// A long job looks whether it is to stop, and goes on when it is not.
func ExampleSignal_Poll() {
	stop := workflow.DefineSignal[string]("stop")
	job := workflow.Define("job", func(ctx context.Context, parts int) (string, error) {
		for part := range parts {
			reason, stopped, err := stop.Poll(ctx)
			if err != nil {
				return "", err
			}
			if stopped {
				return fmt.Sprintf("stopped before part %d: %s", part, reason), nil
			}
			if err := workflow.Sleep(ctx, "work", time.Millisecond); err != nil {
				return "", err
			}
		}
		return "done", nil
	})
	svc, _, closeAll := working(job)
	defer closeAll()

	handle, err := job.Start(ctx, svc, 3, workflow.WithDelay(10*time.Millisecond))
	must(err)
	must(stop.Send(ctx, svc, handle.RunID(), "no longer needed"))
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)

	handle, err = job.Start(ctx, svc, 3)
	must(err)
	text, err = handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output:
	// stopped before part 0: no longer needed
	// done
}
