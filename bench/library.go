package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlworkflow/workflow"
)

// library is this library as an application uses it.
type library struct {
	db  *sql.DB
	svc *workflow.Service
	// elsewhere starts runs for others: it does not work.
	elsewhere *workflow.Service
	stop      context.CancelFunc
	worked    chan error
}

const oneStepName = "one step"

var (
	tenSteps = workflow.Define("ten steps", func(ctx context.Context, _ int) (int, error) {
		for range stepsPerRun {
			if _, err := workflow.Do(ctx, "step", step); err != nil {
				return 0, err
			}
		}
		return stepsPerRun, nil
	})
	oneStep = workflow.Define(oneStepName, func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "step", step)
	})
	asleep = workflow.Define("asleep", func(ctx context.Context, _ int) (string, error) {
		if _, err := workflow.Do(ctx, "step", step); err != nil {
			return "", err
		}
		return "", workflow.Sleep(ctx, "for an hour", time.Hour)
	})
)

// stepTakes is how long a step takes, set before any is executed. Those that take a while are counted.
var (
	stepTakes time.Duration
	stepsNow  atomic.Int64 // under way
	mostSteps atomic.Int64 // at once

	stepsBegun atomic.Int64
)

func step(context.Context) (string, error) {
	stepsBegun.Add(1)
	if stepTakes == 0 {
		return stepResult, nil
	}
	n := stepsNow.Add(1)
	defer stepsNow.Add(-1)
	for most := mostSteps.Load(); n > most && !mostSteps.CompareAndSwap(most, n); most = mostSteps.Load() {
	}
	time.Sleep(stepTakes)
	return stepResult, nil
}

// libraryOn is the library on a driver.
type libraryOn struct {
	driver, parameters string
}

func (o libraryOn) contestant(name, settings string) contestant {
	return contestant{name: name, settings: settings, open: o.openSystem, openWorker: o.openWorker, openProducer: o.openProducer}
}

func (o libraryOn) open(ctx context.Context, url string, config workflow.Config) (*library, error) {
	db, err := openPool(o.driver, withParameters(url, o.parameters))
	if err != nil {
		return nil, err
	}
	config.DB = db
	svc, err := workflow.New(config)
	if err == nil {
		err = svc.Init(ctx)
	}
	var elsewhere *workflow.Service
	if err == nil {
		elsewhere, err = workflow.New(config)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &library{db: db, svc: svc, elsewhere: elsewhere}, nil
}

func (o libraryOn) openSystem(ctx context.Context, url string, slots int) (system, error) {
	l, err := o.open(ctx, url, workflow.Config{Concurrency: max(slots, 1)})
	if err != nil {
		return nil, err
	}
	l.svc.Register(tenSteps, asleep, oneStep, families, delayed, waits, begins, fails)
	l.work()
	return l, nil
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
	return errors.Join(err, l.elsewhere.Close(), l.svc.Close(), l.db.Close())
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
