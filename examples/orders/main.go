// Command orders takes the orders in a CSV file, each in a durable run of five steps.
//
//	DATABASE_URL=postgres://… go run ./examples/orders examples/orders/orders.csv
//
// Kill it halfway, kill -9 included, and start it again: it goes on where it was, and no order is reserved or charged
// twice. (`make demo` does just that.) Start it twice at the same time, and the two share the work.
//
//	order.go       the workflow: begin here
//	shop.go        what the steps do in the shop's tables
//	migrations.go  makes those tables, by goose (migrations/)
//	payment.go     a pretend payment provider
//	lines.go       the lines of the file
//	main.go        puts it together
//	report.go      what the database says in the end
//
// It keeps its rows in two schemas of its own, example_shop and example_workflows; drop them to begin anew.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	if err != nil && ctx.Err() != nil { // we were told to stop, and did
		err = errors.New("stopped; nothing is lost: start it again and it goes on")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("name one CSV file, for example examples/orders/orders.csv")
	}
	lines, err := readLines(args[0])
	if err != nil {
		return err
	}
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()

	// The service keeps the state of the runs beside the shop's own tables, in the same database.
	service, err := workflow.New(workflow.Config{
		DB:          db,
		Schema:      "example_workflows",
		Concurrency: 16,
		Lease:       2 * time.Second,        // short, so that the runs of a killed process are taken over soon
		ParkAfter:   200 * time.Millisecond, // short, so that cooling off frees the run's place for another
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer service.Close()
	if err := service.Init(ctx); err != nil {
		return fmt.Errorf("%w\n  Is the server running, and DATABASE_URL right? (Without TLS it needs ?sslmode=disable.)", err)
	}
	if err := migrate(ctx, db); err != nil {
		return fmt.Errorf("migrate the shop's tables: %w", err)
	}
	shop := &shop{db: db, payments: &payments{db: db}}
	takeOrder := workflow.Define(workflowName, shop.takeOrder)
	service.Register(takeOrder)

	// Runs are executed under Work, until its context ends; then it finishes the steps in flight and returns.
	ctx, stop := context.WithCancelCause(ctx)
	var worker sync.WaitGroup
	worker.Go(func() { stop(service.Work(ctx)) })
	defer worker.Wait()
	defer stop(nil)

	if err := takeAll(ctx, service, takeOrder, lines); err != nil {
		return err
	}
	report, err := newReport(ctx, service, db, lines)
	if err != nil {
		return err
	}
	report.print(os.Stdout)
	return report.verify()
}

func open(url string) (*sql.DB, error) {
	if url == "" {
		return nil, errors.New("DATABASE_URL is not set; name a PostgreSQL database, for example\n" +
			"  DATABASE_URL='postgres://user:password@localhost:5432/postgres?sslmode=disable'")
	}
	connector, err := pq.NewConnector(url)
	if err != nil { // which may quote the password
		return nil, errors.New("DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/database")
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(20) // about one for each run in flight; database/sql would keep two
	return db, nil
}

// takeAll starts a run for each line and waits until all have ended. A run's id names its line, so what was started
// before is not started again: we get a handle to the same run, which may be over already.
func takeAll(
	ctx context.Context, service *workflow.Service, takeOrder *workflow.Workflow[Line, Receipt], lines []Line,
) error {
	ctx, stop := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer stop()

	progress := newProgress(os.Stdout, len(lines))
	defer progress.stop()
	for _, line := range lines {
		handle, err := takeOrder.Start(ctx, service, line, workflow.WithRunID(line.ID()))
		if errors.Is(err, workflow.ErrRunConflict) {
			return fmt.Errorf("line %d of %s is not what it was when the file was read before; "+
				"put new orders into a file of another name", line.Number, line.File)
		}
		if err != nil {
			return err
		}
		waiting.Go(func() {
			_, err := handle.Result(ctx)
			progress.ended(err)
		})
	}
	waiting.Wait()
	return context.Cause(ctx)
}
