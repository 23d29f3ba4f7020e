package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

var ctx = context.Background()

// openDatabase stands for sql.Open: it gives an example an empty database, which close drops.
func openDatabase() (db *sql.DB, closeAll func()) {
	tb, end := pgtest.Example()
	return pgtest.Empty(tb).Open(tb, pgtest.PQ), end
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// newService is New and Init on a database of its own.
func newService() (svc *workflow.Service, db *sql.DB, closeAll func()) {
	return newServiceWith(workflow.Config{})
}

// newServiceWith has a configuration, and its tables are there already.
func newServiceWith(config workflow.Config) (svc *workflow.Service, db *sql.DB, closeAll func()) {
	tb, end := pgtest.Example()
	db, closeDatabase := pgtest.New(tb).Open(tb, pgtest.PQ), end
	config.DB = db
	svc, err := workflow.New(config)
	must(err)
	must(svc.Init(ctx))
	return svc, db, func() {
		must(svc.Close())
		closeDatabase()
	}
}

func Example() {
	db, closeDatabase := openDatabase() // the application's own pool
	defer closeDatabase()

	svc, err := workflow.New(workflow.Config{DB: db})
	must(err)
	defer svc.Close()
	must(svc.Init(ctx))

	greet := workflow.Define("greet", func(ctx context.Context, name string) (string, error) {
		return workflow.Do(ctx, "compose", func(context.Context) (string, error) {
			return "Hello, " + name + "!", nil
		})
	})
	svc.Register(greet)
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- svc.Work(working) }()

	handle, err := greet.Start(ctx, svc, "Zoë")
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)

	stop()
	must(<-done)
	// Output: Hello, Zoë!
}

func ExampleNew() {
	_, err := workflow.New(workflow.Config{Schema: "user"})
	fmt.Println(err)
	_, err = workflow.New(workflow.Config{DSN: "dbname=app", Driver: "mysql"})
	fmt.Println(err)
	// Output:
	// workflow: Config.DB and Config.DSN are both empty: set one of them
	// workflow: Config.Driver "mysql" is not registered with database/sql: import its package, for example _ "github.com/lib/pq" for "postgres" or _ "github.com/jackc/pgx/v5/stdlib" for "pgx"
}

func ExampleDo_error() {
	svc, _, closeAll := newService()
	defer closeAll()
	charge := workflow.Define("charge", func(ctx context.Context, cents int) (string, error) {
		return workflow.Do(ctx, "ask the bank", func(context.Context) (string, error) {
			// Trying again would not help; any other error would be tried again.
			return "", workflow.Final(&workflow.Error{Code: "card_declined", Message: "the bank said no"})
		})
	})
	svc.Register(charge)
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- svc.Work(working) }()

	handle, err := charge.Start(ctx, svc, 1999, workflow.WithRunID("order 17"))
	must(err)
	_, err = handle.Result(ctx)
	fmt.Println(err)
	fmt.Println(errors.Is(err, workflow.Code("card_declined")))

	stop()
	must(<-done)
	// Output:
	// run "order 17" failed in step "ask the bank": the bank said no
	// true
}

// A run that the application executes itself.
func ExampleState() {
	svc, _, closeAll := newService()
	defer closeAll()

	id, err := svc.CreateRun(ctx, "import", map[string]string{"file": "articles.csv"})
	must(err)
	must(svc.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil))

	must(svc.SetStepResult(ctx, id, "parse", 120))
	must(svc.SetStepResult(ctx, id, "parse", 120)) // again: fine
	err = svc.SetStepResult(ctx, id, "parse", 121) // another result: too late
	fmt.Println(errors.Is(err, workflow.ErrStepFinished))

	step, err := svc.GetStepState(ctx, id, "parse")
	must(err)
	var articles int
	must(step.DecodeResult(&articles))
	fmt.Println(step.Status, articles)

	must(svc.UpdateRunStatus(ctx, id, workflow.RunCompleted, false, nil))
	run, err := svc.GetRun(ctx, id)
	must(err)
	fmt.Println(run.Status, string(run.Output))
	// Output:
	// true
	// succeeded 120
	// completed false
}

func ExampleState_CreateRunWithID() {
	svc, _, closeAll := newService()
	defer closeAll()

	first, err := svc.CreateRunWithID(ctx, "invoice 2026-11", "invoice", map[string]int{"year": 2026, "month": 11})
	must(err)
	again, err := svc.CreateRunWithID(ctx, "invoice 2026-11", "invoice", map[string]int{"month": 11, "year": 2026})
	must(err)
	fmt.Println(first.CreatedAt.Equal(again.CreatedAt))

	_, err = svc.CreateRunWithID(ctx, "invoice 2026-11", "invoice", map[string]int{"year": 2027, "month": 11})
	fmt.Println(err)
	// Output:
	// true
	// workflow: create run "invoice 2026-11": a run with this id or key has another workflow or input
}

// The application's row and the run exist together or not at all.
func ExampleService_In() {
	svc, db, closeAll := newService()
	defer closeAll()
	_, err := db.Exec("CREATE TABLE orders (number TEXT PRIMARY KEY, run_id TEXT NOT NULL)")
	must(err)

	tx, err := db.BeginTx(ctx, nil)
	must(err)
	id, err := svc.In(tx).CreateRun(ctx, "ship", "order 17")
	must(err)
	_, err = tx.Exec("INSERT INTO orders VALUES ('17', $1)", id)
	must(err)

	_, err = svc.GetRun(ctx, id)
	fmt.Println("before the commit, found:", !errors.Is(err, workflow.ErrRunNotFound))
	must(tx.Commit())
	_, err = svc.GetRun(ctx, id)
	fmt.Println("after the commit, found:", err == nil)
	// Output:
	// before the commit, found: false
	// after the commit, found: true
}

// Read, modify, write, with every other process kept out.
func ExampleState_WithRunLock() {
	svc, _, closeAll := newService()
	defer closeAll()
	id, err := svc.CreateRun(ctx, "count", nil)
	must(err)
	must(svc.SetStepError(ctx, id, "attempts", errors.New("1")))

	err = svc.WithRunLock(ctx, id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
		step, err := state.GetStepState(ctx, id, "attempts")
		if err != nil {
			return err
		}
		return state.SetStepError(ctx, id, "attempts", fmt.Errorf("%v, then 2", step.Err))
	})
	must(err)
	step, err := svc.GetStepState(ctx, id, "attempts")
	must(err)
	fmt.Println(step.Status, step.Err)
	// Output: failed 1, then 2
}

func ExampleState_ListRuns() {
	svc, _, closeAll := newService()
	defer closeAll()
	for n := range 5 {
		_, err := svc.CreateRunWithID(ctx, fmt.Sprintf("run %d", n), "report", n)
		must(err)
	}

	filter := workflow.RunFilter{Workflow: "report", Statuses: []workflow.RunStatus{workflow.RunPending}, Limit: 2}
	runs := 0
	for {
		page, err := svc.ListRuns(ctx, filter)
		must(err)
		runs += len(page.Runs)
		if page.Next == "" {
			break
		}
		filter.Cursor = page.Next
	}
	fmt.Println(runs)
	// Output: 5
}

// What has come to an end, one way or another.
func ExampleState_ListRuns_statuses() {
	svc, _, closeAll := newService()
	defer closeAll()
	for id, status := range map[string]workflow.RunStatus{
		"a": workflow.RunCompleted, "b": workflow.RunFailed, "c": workflow.RunCancelled, "d": workflow.RunRunning,
	} {
		_, err := svc.CreateRunWithID(ctx, id, "report", nil)
		must(err)
		must(svc.UpdateRunStatus(ctx, id, status, nil, nil))
	}

	page, err := svc.ListRuns(ctx, workflow.RunFilter{
		Statuses: []workflow.RunStatus{workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled},
	})
	must(err)
	for _, run := range page.Runs {
		fmt.Println(run.ID, run.Status)
	}
	// Unordered output:
	// a completed
	// b failed
	// c cancelled
}
