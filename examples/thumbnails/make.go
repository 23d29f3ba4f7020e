package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"

	"github.com/sqlworkflow/workflow"
)

// makeCommand has thumbnails made of all albums in a folder. It is what your web server might be: it starts runs and executes the
// albums, which is little work, and leaves the pictures to the workers.
func makeCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("make", flag.ContinueOnError)
	out := flags.String("out", "", "the folder to write thumbnails and contact sheets to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() != 1 {
		return errors.New(usage)
	}
	albums, err := findAlbums(flags.Arg(0), *out)
	if err != nil {
		return err
	}
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := newService(ctx, db, workflow.NoQueue) // it executes what waits on no queue
	if err != nil {
		return err
	}
	defer service.Close()
	service.Register(album)
	// Makes the queue if there is none. If there is, its limits stay as they are: somebody may have changed them at night.
	if err := service.EnsureQueue(ctx, limits); err != nil {
		return err
	}
	runIDs, err := makeAll(ctx, db, service, albums)
	if err != nil {
		return err
	}
	return printReport(ctx, os.Stdout, db, service, runIDs)
}

// makeAll starts a run for each album, executes these until all have ended, and returns their ids.
func makeAll(ctx context.Context, db *sql.DB, service *workflow.Service, albums []Album) (runIDs []string, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop(nil)
	working.Go(func() { stop(service.Work(ctx)) }) // executes runs until ctx ends

	var handles []*workflow.Handle[Made]
	for _, a := range albums {
		// If this album's run is not over yet, perhaps because this process was killed, we get that one instead of a second.
		handle, err := album.Start(ctx, service, a, workflow.WithUnique(a.Folder))
		if errors.Is(err, workflow.ErrRunConflict) {
			return nil, fmt.Errorf("thumbnails of %s are being written to another folder: %w", a.Folder, err)
		}
		if err != nil {
			return nil, err
		}
		handles, runIDs = append(handles, handle), append(runIDs, handle.RunID())
	}
	stopProgress := showProgress(ctx, os.Stdout, db, runIDs)
	defer stopProgress()
	for _, handle := range handles {
		if _, err := handle.Result(ctx); err != nil {
			return nil, errors.Join(err, context.Cause(ctx))
		}
	}
	return runIDs, nil
}
