package main

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/notify/pgxnotify"
	"github.com/sqlworkflow/workflow/notify/pqnotify"
)

// tells returns when its step began: the microsecond since 1970, which every JSON decoder of the contestants keeps.
var tells = workflow.Define("tells", func(ctx context.Context, _ int) (int64, error) {
	return workflow.Do(ctx, "step", now)
})

func now(context.Context) (int64, error) { return time.Now().UnixMicro(), nil }

// libraryStarter starts a run at a time, in a queue or, if it is "", in none.
type libraryStarter struct {
	*library
	queue string
}

func (s libraryStarter) Once(ctx context.Context) (began time.Time, err error) {
	var options []workflow.StartOption
	if s.queue != "" {
		options = append(options, workflow.WithQueue(s.queue))
	}
	handle, err := tells.Start(ctx, s.svc, 1, options...)
	if err != nil {
		return began, err
	}
	micros, err := handle.Result(ctx)
	return time.UnixMicro(micros), err
}

// openLibraryQueue opens the library with its queue made.
func openLibraryQueue(ctx context.Context, url string, config workflow.Config) (*library, error) {
	l, err := onPGX.open(ctx, url, config)
	if err != nil {
		return nil, err
	}
	if err := l.svc.EnsureQueue(ctx, workflow.Queue{Name: queueName, MaxRunning: fleetLimit}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func openLibraryHere(queue string) func(context.Context, string) (starter, error) {
	return func(ctx context.Context, url string) (starter, error) {
		l, err := openLibraryQueue(ctx, url, workflow.Config{})
		if err != nil {
			return nil, err
		}
		l.svc.Register(tells)
		l.work()
		return libraryStarter{library: l, queue: queue}, nil
	}
}

// libraryAcross is the library on pgx in two processes, with a queue between them.
func libraryAcross(name, settings string, config workflow.Config, notify func(*workflow.Config, string) error) correspondent {
	open := func(ctx context.Context, url string) (*library, error) {
		config := config
		if notify != nil {
			if err := notify(&config, url); err != nil {
				return nil, err
			}
		}
		return openLibraryQueue(ctx, url, config)
	}
	return correspondent{
		name: name, settings: settings,
		openWorker: func(ctx context.Context, url string) (closer, error) {
			l, err := open(ctx, url)
			if err != nil {
				return nil, err
			}
			l.svc.Register(tells)
			l.work()
			return l, nil
		},
		openStarter: func(ctx context.Context, url string) (starter, error) {
			l, err := open(ctx, url)
			return libraryStarter{library: l, queue: queueName}, err
		},
	}
}

func pgxNotifier(config *workflow.Config, url string) (err error) {
	config.Notifier, err = pgxnotify.New(url)
	return err
}

func pqNotifier(config *workflow.Config, url string) (err error) {
	config.Notifier, err = pqnotify.New(url)
	return err
}
