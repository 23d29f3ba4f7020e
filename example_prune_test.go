package workflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// What is old goes, and what is worth keeping is kept elsewhere in the same transaction.
func ExampleService_Prune() {
	order := workflow.Define("order", func(_ context.Context, n int) (int, error) { return 100 * n, nil })
	svc, db, closeAll := working(order)
	defer closeAll()
	_, err := db.Exec("CREATE TABLE old_orders (id TEXT PRIMARY KEY, output JSONB)")
	must(err)
	for n := range 3 {
		handle, err := order.Start(ctx, svc, n)
		must(err)
		_, err = handle.Result(ctx)
		must(err)
	}

	old := workflow.Prune{
		Before: time.Now().Add(time.Hour), // a month ago, usually
		DryRun: true,
		Archive: func(ctx context.Context, tx *sql.Tx, runIDs []string) error {
			for _, id := range runIDs {
				run, err := svc.In(tx).GetRun(ctx, id)
				if err != nil {
					return err
				}
				if _, err = tx.ExecContext(ctx, "INSERT INTO old_orders VALUES ($1, $2)", id, string(run.Output)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	found, err := svc.Prune(ctx, old)
	must(err)
	fmt.Println("would delete", found.Runs)
	old.DryRun = false
	done, err := svc.Prune(ctx, old)
	must(err)
	fmt.Println("deleted", done.Runs)
	// Output:
	// would delete 3
	// deleted 3
}
