package workflow

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/migrations"
	"github.com/sqlworkflow/workflow/store"
)

// Service is the front door: the state API on its pool, and the worker that executes runs. It is safe for concurrent
// use.
type Service struct {
	State
	db    *sql.DB
	owned bool // db was opened by New
}

// New returns a service on the pool of the application (Config.DB) or on one of its own (Config.DSN). It does no I/O and
// starts no goroutine of ours; errors name the field and how to fix it. Call [Service.Init] before use and [Service.Close] after it.
func New(config Config) (*Service, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	db, owned := config.DB, false
	if db == nil {
		var err error
		if db, err = config.open(); err != nil {
			return nil, err
		}
		owned = true
	}
	st := store.New(db, store.Options{
		Schema: config.Schema, Statements: config.Statements,
		Timeout: config.Timeout, LockTimeout: config.LockTimeout, Lease: config.Lease,
	})
	eng := engine.New(st, engine.Config{
		Timeout: config.Timeout, Concurrency: config.Concurrency, PollInterval: config.PollInterval,
		Lease: config.Lease, Heartbeat: config.Lease / beatsPerLease, Drain: config.Drain, ParkAfter: config.ParkAfter,
		BlockedFor: config.BlockedFor, MaxSteps: config.MaxSteps, Version: config.Version, Serve: config.Serve, Logger: config.Logger,
		Observer:   config.listener(),
		Dispatcher: config.Dispatcher, Redispatch: config.RedispatchAfter, Retention: config.Retention,
		Notifier: config.Notifier, Schema: config.Schema,
		Says: func(w store.Whereabouts) string { return whyOf(w).String() },
	})
	return &Service{State: State{store: st, shared: &shared{config: config, pool: st, engine: eng}}, db: db, owned: owned}, nil
}

// Init checks that the database answers and applies the migrations that are missing, creating the schema if need be. Any
// number of processes may call it at once; each migration is applied once. On an up-to-date schema it changes nothing
// and needs no rights beyond those of the state API.
func (s *Service) Init(ctx context.Context) error {
	if err := s.ready(ctx, "init"); err != nil {
		return err
	}
	if err := s.store.Ping(ctx); err != nil {
		return err
	}
	return migrations.Up(ctx, s.db, s.config.Schema, migrations.WithLogger(s.config.Logger))
}

// In returns the state API bound to a transaction of the application on the same database: what is written through it
// exists if and only if the application commits. The caller ends the transaction; a state must not be used after that,
// nor by two goroutines at once.
func (s *Service) In(tx *sql.Tx) State {
	return State{store: s.store.In(tx), shared: s.shared}
}

// Wake makes a worker of this process look for runs at once, and with a [Notifier] those of others: call it after the commit of a transaction in which runs were
// started or something was sent to one, if they are not to wait for the next poll.
func (s *Service) Wake() { s.engine.Wake() }

// AwaitRun waits until a run is finished, wherever it is executed, and returns it, whatever its status: that it failed or was
// cancelled is no error here, as it is for [Handle.Result], which also decodes the output. Its other errors are the same.
func (s *Service) AwaitRun(ctx context.Context, id string) (Run, error) {
	if err := s.readyRun(ctx, "await run", id); err != nil {
		return Run{}, err
	}
	for {
		if _, err := s.engine.AwaitRow(ctx, id); err != nil {
			return Run{}, fmt.Errorf("workflow: await run %q: %w", id, err)
		}
		run, err := s.GetRun(ctx, id)
		if err != nil || run.Status.Finished() {
			return run, err
		}
	} // it was resumed meanwhile
}

// Work executes runs of the registered workflows until ctx ends: up to Config.Concurrency at a time, its own and those
// whose worker has died. Then it claims nothing more, lets steps in flight finish for Config.Drain, hands the runs back
// for others to go on with, and returns nil. A service works at most once at a time (ErrWorking). Work waits for a database that is
// away, when it begins and later; but if a right or a table is missing when it begins, that is an error.
func (s *Service) Work(ctx context.Context) error {
	if s.closed.Load() {
		return fmt.Errorf("workflow: work: %w", ErrClosed)
	}
	return s.engine.Work(ctx)
}

// Close makes every further call return ErrClosed and closes the pool if it was opened from Config.DSN; a pool handed in
// as Config.DB stays open. It ends [Service.Work] as the end of its context does, and waits for it. Closing twice is fine.
func (s *Service) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.engine.Close(ErrClosed)
	if !s.owned {
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("workflow: close: %w", err)
	}
	return nil
}
