package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow"
)

// library is this library as an application uses it.
type library struct {
	db     *sql.DB
	svc    *workflow.Service
	stop   context.CancelFunc
	worked chan error
}

var (
	tenSteps = workflow.Define("ten steps", func(ctx context.Context, _ int) (int, error) {
		for range stepsPerRun {
			if _, err := workflow.Do(ctx, "step", step); err != nil {
				return 0, err
			}
		}
		return stepsPerRun, nil
	})
	oneStep = workflow.Define("one step", func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "step", step)
	})
	asleep = workflow.Define("asleep", func(ctx context.Context, _ int) (string, error) {
		if _, err := workflow.Do(ctx, "step", step); err != nil {
			return "", err
		}
		return "", workflow.Sleep(ctx, "for an hour", time.Hour)
	})
)

func step(context.Context) (string, error) { return stepResult, nil }

func libraryContestant(name, driver, parameters string, statements workflow.Statements, settings string) contestant {
	open := func(ctx context.Context, url string, slots int) (*library, error) {
		db, err := openPool(driver, withParameters(url, parameters))
		if err != nil {
			return nil, err
		}
		svc, err := workflow.New(workflow.Config{DB: db, Statements: statements, Concurrency: max(slots, 1)})
		if err == nil {
			err = svc.Init(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return &library{db: db, svc: svc}, nil
	}
	return contestant{
		name: name, settings: settings,
		open: func(ctx context.Context, url string, slots int) (system, error) {
			l, err := open(ctx, url, slots)
			if err != nil {
				return nil, err
			}
			l.svc.Register(tenSteps, asleep, oneStep, families, delayed, waits)
			l.work()
			return l, nil
		},
		openWorker: func(ctx context.Context, url string, slots int) (closer, error) {
			l, err := open(ctx, url, slots)
			if err != nil {
				return nil, err
			}
			l.svc.Register(oneStep)
			l.work()
			return l, nil
		},
		openProducer: func(ctx context.Context, url string) (producer, error) {
			l, err := open(ctx, url, 1)
			if err != nil {
				return nil, err
			}
			return &libraryProducer{library: l}, nil
		},
	}
}

// openPool opens a pool as all contestants on database/sql have it.
func openPool(driver, url string) (*sql.DB, error) {
	db, err := sql.Open(driver, url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func withParameters(url, parameters string) string {
	switch {
	case parameters == "":
		return url
	case strings.Contains(url, "?"):
		return url + "&" + parameters
	default:
		return url + "?" + parameters
	}
}

// work begins to execute runs.
func (l *library) work() {
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	l.worked = make(chan error, 1)
	go func() { l.worked <- l.svc.Work(ctx) }()
}

func (l *library) Close() error {
	var err error
	if l.stop != nil {
		l.stop()
		err = <-l.worked
	}
	return errors.Join(err, l.svc.Close(), l.db.Close())
}

func (l *library) Run(ctx context.Context) error {
	handle, err := tenSteps.Start(ctx, l.svc, 1)
	if err != nil {
		return err
	}
	_, err = handle.Result(ctx)
	return err
}

func (l *library) Steps(ctx context.Context, n int, took func(time.Duration)) error {
	timed := workflow.Define("timed steps", func(ctx context.Context, _ int) (int, error) {
		for range n {
			began := time.Now()
			if _, err := workflow.Do(ctx, "step", step); err != nil {
				return 0, err
			}
			took(time.Since(began))
		}
		return n, nil
	})
	l.svc.Register(timed)
	handle, err := timed.Start(ctx, l.svc, 1)
	if err != nil {
		return err
	}
	_, err = handle.Result(ctx)
	return err
}

func (l *library) Hold(ctx context.Context, n int) (release func() error, err error) {
	var held sync.WaitGroup
	held.Add(n)
	released := make(chan struct{})
	holding := workflow.Define("holding", func(ctx context.Context, _ int) (string, error) {
		if _, err := workflow.Do(ctx, "step", step); err != nil {
			return "", err
		}
		return workflow.Do(ctx, "held", func(context.Context) (string, error) {
			held.Done()
			<-released
			return stepResult, nil
		})
	})
	l.svc.Register(holding)
	handles := make([]*workflow.Handle[string], n)
	err = inParallel(ctx, n, func(ctx context.Context, i int) (err error) {
		handles[i], err = holding.Start(ctx, l.svc, 1)
		return err
	})
	held.Wait()
	return func() error {
		close(released)
		return inParallel(ctx, n, func(ctx context.Context, i int) error {
			_, err := handles[i].Result(ctx)
			return err
		})
	}, err
}

func (l *library) Park(ctx context.Context, n int) error {
	err := inParallel(ctx, n, func(ctx context.Context, _ int) error {
		_, err := asleep.Start(ctx, l.svc, 1)
		return err
	})
	for err == nil {
		var parked int
		const count = "SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'asleep' AND status = 'suspended'"
		if err = l.db.QueryRowContext(ctx, count).Scan(&parked); parked == n {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

type libraryProducer struct {
	*library
	mu      sync.Mutex
	handles []*workflow.Handle[string]
}

func (p *libraryProducer) Enqueue(ctx context.Context) error {
	handle, err := oneStep.Start(ctx, p.svc, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handles = append(p.handles, handle)
	return err
}

func (p *libraryProducer) AwaitAll(ctx context.Context) error {
	return inParallel(ctx, len(p.handles), func(ctx context.Context, i int) error {
		_, err := p.handles[i].Result(ctx)
		return err
	})
}

// inParallel calls do for each of n numbers, in as many goroutines as the queue has callers.
func inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	numbers := make(chan int, n)
	for i := range n {
		numbers <- i
	}
	close(numbers)
	errs := make([]error, queueCallers)
	var all sync.WaitGroup
	for caller := range errs {
		all.Go(func() {
			for i := range numbers {
				if errs[caller] = do(ctx, i); errs[caller] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
