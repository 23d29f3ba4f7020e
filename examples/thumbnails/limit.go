package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/sqlworkflow/workflow"
)

// limitCommand is an operator who changes how many pictures may be at work at once, while they are. No process is told: what is begun
// from now on obeys the new limit. If that is lower, pictures that are at work are finished, and none is begun until fewer are.
func limitCommand(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New(usage)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%q is no number", args[0])
	}
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := newService(ctx, db, workflow.NoQueue)
	if err != nil {
		return err
	}
	defer service.Close()
	state, err := service.GetQueue(ctx, queue)
	if errors.Is(err, workflow.ErrQueueNotFound) {
		return fmt.Errorf("%w: it is made by `thumbnails make`", err)
	}
	if err != nil {
		return err
	}
	before := state.MaxRunning
	state.MaxRunning = n // 0: as many as the workers have room for
	if err := service.SetQueue(ctx, state.Queue); err != nil {
		return err
	}
	fmt.Printf("%d pictures may be at work at once; before, it was %d\n", n, before)
	return nil
}
