package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"time"

	_ "github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

// packed tells an order that the warehouse is done with it, and which parcel it has become.
var packed = workflow.DefineSignal[string]("packed")

// After a crash this is called again: steps that are recorded return their records, and only what is missing runs.
var takeOrder = workflow.Define("take-order", func(ctx context.Context, order int64) (string, error) {
	payment, err := workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) {
		return charge(ctx, order, workflow.IdempotencyKey(ctx)) // the same key, however often it is tried
	})
	if err != nil {
		return "", err
	}
	parcel, err := packed.Wait(ctx, 72*time.Hour) // the run is a row meanwhile, and nothing else
	if err != nil {
		return "", err
	}
	return workflow.DoTx(ctx, "confirm", func(ctx context.Context, tx *sql.Tx) (string, error) {
		_, err := tx.ExecContext(ctx, "UPDATE hello_orders SET payment = $1, parcel = $2 WHERE id = $3", payment, parcel, order)
		return payment + " in " + parcel, err // your write and the step's record are committed together
	})
})

// charge stands for a call to your payment provider.
func charge(_ context.Context, order int64, key string) (payment string, err error) {
	return fmt.Sprintf("payment %.8s for order %d", key, order), nil
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	check(err)
	_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS hello_orders (id BIGSERIAL PRIMARY KEY, item TEXT, payment TEXT, parcel TEXT)")
	check(err)

	svc, err := workflow.New(workflow.Config{DB: db})
	check(err)
	check(svc.Init(ctx)) // creates the library's tables, once
	svc.Register(takeOrder)
	worked := make(chan struct{})
	go func() {
		check(svc.Work(ctx)) // executes runs until ctx ends
		close(worked)
	}()

	tx, err := db.BeginTx(ctx, nil)
	check(err)
	var order int64
	check(tx.QueryRowContext(ctx, "INSERT INTO hello_orders (item) VALUES ('mug') RETURNING id").Scan(&order))
	handle, err := takeOrder.Start(ctx, svc.In(tx), order)
	check(err)
	check(tx.Commit()) // the order and the work on it: both, or neither

	// Later, in whatever process hears of the parcel; with a key, a message that comes twice is sent once.
	check(packed.Send(ctx, svc, handle.RunID(), "parcel 7", workflow.WithKey("scan 1")))

	confirmed, err := handle.Result(ctx)
	check(err)
	fmt.Println(confirmed)

	stop()
	<-worked
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
