package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sqlworkflow/workflow"
)

// workCommand is a worker: it serves the queue until it is told to stop, and then finishes the pictures that it is at. It does
// not know how many others there are, nor how many pictures it may take: the queue says that.
func workCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("work", flag.ContinueOnError)
	host, _ := os.Hostname()
	s := &studio{}
	flags.StringVar(&s.name, "name", fmt.Sprintf("%s-%d", host, os.Getpid()), "what it signs its work with")
	flags.DurationVar(&s.slow, "slow", 0, "how long a picture takes at least, as large ones do")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := newService(ctx, db, queue)
	if err != nil {
		return err
	}
	defer service.Close()
	service.Register(workflow.DefineStep(remote.Name(), s.thumbnail))
	fmt.Printf("%s serves the queue %s until it is told to stop\n", s.name, queue)
	return service.Work(ctx)
}

// pause returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
