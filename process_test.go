package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// testLease is the lease of a test in which one has to end.
const testLease = time.Second

// workerChild is another process: it executes runs of the workflow "two" until it is killed. It says when a run is inside its second step.
func workerChild(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	svc, err := workflow.New(workflow.Config{DB: db, Lease: testLease})
	if err != nil {
		return err
	}
	svc.Register(twoSteps(db, func(ctx context.Context) {
		fmt.Println("inside")
		<-ctx.Done() // a worker that lost its run comes out here
	}, func(err error) {
		fmt.Println("refused:", errors.Is(err, workflow.ErrRunLost))
	}))
	return svc.Work(context.Background())
}

// twoSteps has a step that leaves a row in effects, and one that leaves another after hold; told gets what became of its
// record.
func twoSteps(db *sql.DB, hold func(context.Context), told func(error)) *workflow.Workflow[string, string] {
	effect := func(ctx context.Context, step string) (string, error) {
		who := strconv.Itoa(os.Getpid())
		_, err := db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO effects VALUES ($1, $2, $3)", workflow.RunID(ctx), step, who)
		return who, err
	}
	return workflow.Define("two", func(ctx context.Context, in string) (string, error) {
		first, err := workflow.Do(ctx, "first", func(ctx context.Context) (string, error) {
			return effect(ctx, "first")
		})
		if err != nil {
			return "", err
		}
		second, err := workflow.Do(ctx, "second", func(ctx context.Context) (string, error) {
			hold(ctx)
			return effect(ctx, "second")
		})
		told(err)
		if err != nil {
			return "", err
		}
		return in + ": " + first + " then " + second, nil
	})
}

// spawn starts such a worker on the bench's database.
func (b *bench) spawn() *kit.Process {
	b.t.Helper()
	return kit.Spawn(b.t, b.pg.URL())
}
