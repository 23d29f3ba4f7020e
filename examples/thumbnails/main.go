// Command thumbnails makes thumbnails of the pictures in a folder, and a contact sheet of each album in it: every picture by a run of
// its own, which waits on a queue until one of any number of worker processes has room for it.
//
//	export DATABASE_URL=postgres://…
//	go run ./examples/thumbnails make -out /tmp/thumbnails examples/thumbnails/photos
//	go run ./examples/thumbnails work    # in other terminals, as many as you like
//
// Kill any of them, kill -9 included: what a dead worker was at is done by another, and `make`, started again, goes on where it was.
// (`make demo-queue` does just that with three workers.)
//
//	album.go      the workflow, and the limits of its queue: begin here
//	make.go       the process that starts the albums, and waits for them
//	work.go       the processes that make the thumbnails
//	thumbnail.go  what they do: shrink a picture
//	sheet.go      the contact sheet
//	files.go      how files are found, and written by steps that may run twice
//	limit.go      how a limit is changed while all of this goes on
//	progress.go   how far it is, while it is under way
//	report.go     who has made what, and whose turn it was: from the database
//	paint.go      paints pictures, where a few are not enough
//	main.go       puts it together
//
// All processes see the same files. It keeps its rows in a schema of its own, example_thumbnails; drop it to begin anew.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

const usage = `usage:
  thumbnails make -out DIR FOLDER                     make thumbnails of the albums (folders) in FOLDER
  thumbnails work [-name NAME] [-slow TIME]           be one of the workers, until told to stop
  thumbnails limit N                                  let N pictures be at work at once from now on
  thumbnails paint [-n N] [-width W] [-as png] FOLDER paint N pictures into FOLDER, for want of a camera`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	if err != nil && ctx.Err() != nil { // we were told to stop, and did
		err = errors.New("stopped; nothing is lost: start it again and it goes on")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "thumbnails:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(ctx context.Context, args []string) error{
		"make": makeCommand, "work": workCommand, "limit": limitCommand, "paint": paintCommand,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New(usage)
	}
	return commands[args[0]](ctx, args[1:])
}

// newService connects a process that is to execute what waits on the given queue.
func newService(ctx context.Context, db *sql.DB, serve string) (*workflow.Service, error) {
	service, err := workflow.New(workflow.Config{
		DB:     db,
		Schema: "example_thumbnails",
		Serve:  []string{serve},
		Lease:  2 * time.Second, // short, so that the runs of a killed process are taken over soon
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, err
	}
	if err := service.Init(ctx); err != nil {
		service.Close()
		return nil, fmt.Errorf("%w\n  Is the server running, and DATABASE_URL right? (Without TLS it needs ?sslmode=disable.)", err)
	}
	return service, nil
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
