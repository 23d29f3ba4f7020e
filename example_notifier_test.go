package workflow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/notify/pgxnotify"
)

// Two processes, one that starts runs and one that executes them. Each has a notifier, so neither waits for the other to poll.
func ExampleNotifier() {
	tb, end := pgtest.Example()
	defer end()
	database := pgtest.New(tb) // stands for the application's
	db, dsn := database.Open(tb, pgtest.PGX), database.URL()

	process := func() *workflow.Service {
		notifier, err := pgxnotify.New(dsn) // a direct connection, not through a pooler
		must(err)
		svc, err := workflow.New(workflow.Config{DB: db, Notifier: notifier, PollInterval: time.Minute})
		must(err)
		return svc
	}
	double := workflow.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

	worker := process()
	defer worker.Close()
	worker.Register(double)
	go func() { must(worker.Work(ctx)) }()

	web := process()
	defer web.Close()
	for n := range 3 {
		run, err := double.Start(ctx, web, n)
		must(err)
		result, err := run.Result(ctx)
		must(err)
		fmt.Println(result)
	}
	// Output:
	// 0
	// 2
	// 4
}
