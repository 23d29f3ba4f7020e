// Command refunds gives customers their money back. For each of them a durable run asks a manager, who has a time limit, has the bank
// pay, waits for its webhook, and tells three parties by runs of their own.
//
//	DATABASE_URL=postgres://… go run ./examples/refunds
//
// Kill it halfway, kill -9 included, and start it again: it goes on where it was, and nobody is asked or paid twice.
// (`make demo-refunds` does just that.)
//
//	refund.go      the workflow: begin here
//	shop.go        how a run is started, and what it does in the shop's tables
//	webhook.go     how the bank's answer becomes a signal
//	audit.go       who was asked, who has decided what, what has come: from the database
//	migrations.go  makes the shop's tables, by goose (migrations/)
//	main.go        puts it together
//
// The rest of the world is pretended, and lives in the same process: people.go, bank.go, post.go.
//
// It keeps its rows in two schemas of its own, example_refunds and example_refunds_workflows; drop them to begin anew.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

// asked are the refunds that customers ask for: order and reason.
var asked = [][2]string{
	{"1001", "arrived broken"},
	{"1002", "changed my mind"},
	{"1003", "never arrived"},
	{"1004", "arrived broken"},
	{"1005", "changed my mind"},
	{"1006", "too tall"},
	{"1007", "too soft"},
	{"1008", "too large"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	if err != nil && ctx.Err() != nil { // we were told to stop, and did
		err = errors.New("stopped; nothing is lost: start it again and it goes on")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "refunds:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := workflow.New(workflow.Config{
		DB:     db,
		Schema: "example_refunds_workflows",
		Lease:  2 * time.Second, // short, so that the runs of a killed process are taken over soon
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
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
	shop := newShop(db, service)
	if err := refundAll(ctx, shop, out); err != nil {
		return err
	}
	return printAudit(ctx, out, shop)
}

// refundAll asks for all refunds, and has everybody work until all are closed.
func refundAll(ctx context.Context, shop *shop, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: shop, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()

	ctx, stop := context.WithCancelCause(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop(nil)
	working.Go(func() { stop(shop.service.Work(ctx)) }) // executes runs until ctx ends
	go func() { _ = server.Serve(listener) }()
	working.Go(func() { shop.bank.work(ctx, "http://"+listener.Addr().String()) })
	people := &people{shop: shop, out: out}
	working.Go(func() { people.managers(ctx) })
	working.Go(func() { people.director(ctx) })

	var handles []*workflow.Handle[Receipt]
	for _, a := range asked {
		handle, err := shop.request(ctx, a[0], a[1])
		if err != nil {
			return err
		}
		handles = append(handles, handle)
	}
	for _, handle := range handles {
		if _, err := handle.Result(ctx); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return shop.bank.finish(ctx)
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
	db.SetMaxIdleConns(10) // database/sql would keep two
	return db, nil
}
