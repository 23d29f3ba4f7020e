package main

import (
	"context"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

func dbosTells(ctx dbos.Context, _ int) (int64, error) { return dbos.RunAsStep(ctx, now) }

// openDBOSLatency executes the runs of a queue that is polled as often as it is said; 0: its default.
func openDBOSLatency(poll time.Duration) func(context.Context, string) (closer, error) {
	return func(ctx context.Context, url string) (closer, error) {
		var options []dbos.QueueOption
		if poll > 0 {
			options = append(options, dbos.WithQueueBasePollingInterval(poll))
		}
		return launchDBOS(ctx, url, options, func(d dbos.Context) {
			dbos.RegisterWorkflow(d, dbosTells, dbos.WithWorkflowName(tells.Name()))
		})
	}
}

// dbosStarter starts a run at a time in another process.
type dbosStarter struct {
	client dbos.Client
	poll   time.Duration // for results; 0: its default
}

func openDBOSStarter(poll time.Duration) func(context.Context, string) (starter, error) {
	return func(ctx context.Context, url string) (starter, error) {
		client, err := newDBOSClient(ctx, url)
		return dbosStarter{client: client, poll: poll}, err
	}
}

func (s dbosStarter) Close() error { return dbos.Shutdown(s.client, dbosWindow) }

func (s dbosStarter) Once(context.Context) (began time.Time, err error) {
	handle, err := dbos.Enqueue[int64](s.client, queueName, tells.Name(), 1)
	if err != nil {
		return began, err
	}
	micros, err := handle.GetResult(dbos.WithHandlePollingInterval(s.poll))
	return time.UnixMicro(micros), err
}

// dbosHereStarter starts a run at a time in its own process.
type dbosHereStarter struct{ *dbosSystem }

func openDBOSHere(ctx context.Context, url string) (starter, error) {
	d, err := newDBOS(ctx, url)
	if err != nil {
		return nil, err
	}
	dbos.RegisterWorkflow(d, dbosTells)
	return dbosHereStarter{&dbosSystem{ctx: d}}, dbos.Launch(d)
}

func (s dbosHereStarter) Once(context.Context) (began time.Time, err error) {
	handle, err := dbos.RunWorkflow(s.ctx, dbosTells, 1)
	if err != nil {
		return began, err
	}
	micros, err := handle.GetResult()
	return time.UnixMicro(micros), err
}
