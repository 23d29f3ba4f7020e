package workflow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/migrations"
	"github.com/sqlworkflow/workflow/store"
)

// Config says where the state lives and how a process works on it. Either DB or DSN is required; every other field has
// a useful zero value.
type Config struct {
	// DB is a pool of the application. It stays the application's: we never close or tune it. Work needs
	// at least three connections at a time; database/sql keeps only two of them when idle, so
	// SetMaxIdleConns is worth setting.
	DB *sql.DB

	// DSN is a connection string, in any form that the driver reads, from which [New] opens a pool of its own, which
	// [Service.Close] closes. The application imports the driver. For lib/pq, binary_parameters=yes is added when the
	// DSN does not say. No error shows its password.
	DSN string

	// Driver is the name under which the driver of DSN is registered with database/sql. Defaults to "postgres",
	// which is lib/pq; pgx registers "pgx".
	Driver string

	// Schema is the PostgreSQL schema that holds the tables: lower-case letters, digits and underscores, not a
	// reserved word. Services with different schemas share one database, and one pool, without seeing each other.
	// Defaults to "workflows".
	Schema string

	// Statements says how a statement that stands alone is sent. The default is safe everywhere; see
	// [StatementsAuto], and docs/operations.md on drivers and poolers for when it is fast with lib/pq.
	Statements Statements

	// Logger receives problems that no caller is waiting to be told of. Payloads and connection strings are never logged.
	// Defaults to slog.Default, from warnings on; slog.DiscardHandler silences it.
	Logger *slog.Logger

	// Observer is told what happens to runs and steps in this process, for metrics and traces; see [Observer] and [Tracer]. Defaults to
	// none, which costs nothing.
	Observer Observer

	// Notifier makes processes hear of each other in milliseconds: that a run waits to be executed, that something has come for one,
	// that one has ended. It takes one more connection of each process that works or awaits; see [Notifier]. All processes of one
	// schema should have one, as one without tells nobody. Defaults to none: they find out by polling.
	Notifier Notifier

	// Version is a label of the application's release: stored with the runs that it starts and with its worker, and shown. It
	// never decides who executes what. Defaults to none; at most 255 bytes.
	Version string

	// Retry is how often a step is attempted unless [WithRetry] says otherwise; fields left zero have RetryPolicy's defaults.
	Retry RetryPolicy

	// Timeout bounds each call that begins no transaction of the application: waiting for a connection, for locks
	// and for the answer. Too low, and a busy database fails calls that would have succeeded. Defaults to 30 s.
	Timeout time.Duration

	// LockTimeout bounds waiting for a run that another transaction has locked, in [State.WithRunLock] and in
	// writes inside a transaction of the application. Defaults to 10 s.
	LockTimeout time.Duration

	// PayloadLimit is the longest JSON text of an input, output or result, in bytes. Defaults to 1 MiB.
	PayloadLimit int

	// Concurrency is how many runs this process executes at once. Each takes some 13 kB while it waits for its steps; too low,
	// and runs wait although the process is idle. Defaults to 100.
	Concurrency int

	// Serve names the queues whose runs this process executes; [NoQueue] stands for runs that were started without one, which are left
	// to other processes if only queues are named. What a process may start does not depend on it. A queue that no process serves keeps
	// its runs waiting, of which a worker warns. Defaults to none: all queues, and runs without one.
	Serve []string

	// PollInterval is how long an idle worker waits before it looks for runs again; it is jittered. Lower finds
	// runs sooner and asks more of the database. While a Notifier hears others it is two seconds, if it is not longer.
	// Defaults to 250 ms.
	PollInterval time.Duration

	// Lease is how long a worker keeps its runs after its last heartbeat, of which it sends one every Lease/6. Too low, and a
	// slow database makes live workers lose their runs; too high, and the runs of a dead one wait longer. All processes
	// of one schema should agree. It is also how long a process that is frozen inside a statement of ours can hold locks.
	// Defaults to 30 s; at least 1 s.
	Lease time.Duration

	// BlockedFor is how long a run stays blocked (its code does not match its record, or its steps cannot be loaded) before it
	// fails. Until then it is tried again, after a second at first and every ten minutes in the end, by whichever worker
	// claims it: so a rollback, or a fix, lets it go on. Defaults to 24 h.
	BlockedFor time.Duration

	// ParkAfter is the longest wait, in [Sleep] or before the next attempt of a step, that a run spends in memory. A longer
	// one parks the run, which frees its slot and costs two more statements and a replay. Defaults to 5 s.
	ParkAfter time.Duration

	// MaxSteps bounds the steps of one run, all of which are loaded when it is claimed, and the runs that one [CallAll] starts.
	// Defaults to 10,000.
	MaxSteps int

	// Dispatcher has the runs that are started here brought to their workers by a queue of the application's own: the queue is told of each
	// run that may go on, and whoever consumes it calls [Service.Execute]. No worker claims these runs by itself. Every process that
	// starts or executes such runs should have one, and at least one of them has to work: it tells the queue of what becomes runnable
	// by SQL. Defaults to none: workers claim runs.
	Dispatcher Dispatcher

	// Retention is how long finished runs are kept: those that ended longer ago are deleted by the workers, a thousand at a time, with their
	// steps and signals; see [Service.Prune] for which stay, and to keep some elsewhere first. Each working process should have the same;
	// the shortest decides. Defaults to 0: for ever.
	Retention time.Duration

	// RedispatchAfter is how long a run that the Dispatcher was told of waits before it is told again: messages may be lost. The time doubles
	// with each, to an hour, so a queue that is slow does not fill with doubles. Defaults to 1 min.
	RedispatchAfter time.Duration

	// Drain bounds how long [Service.Work] lets steps finish once its context has ended; then their contexts are
	// cancelled. Defaults to 30 s.
	Drain time.Duration
}

// Statements says how a statement that stands alone is sent to the server.
type Statements = store.Statements

// The ways to send a lone statement.
const (
	StatementsAuto   Statements = store.Auto   // by the driver: pgx Single; lib/pq Single where that is safe, else InTx; others InTx
	StatementsSingle Statements = store.Single // one autocommit statement, one round trip
	StatementsInTx   Statements = store.InTx   // BEGIN, statement, COMMIT: safe with every driver behind every pooler
)

const (
	minLease      = time.Second
	beatsPerLease = 6
)

func (c Config) withDefaults() Config {
	setDefault(&c.Driver, "postgres")
	setDefault(&c.Schema, migrations.DefaultSchema)
	if c.Logger == nil {
		c.Logger = slog.New(warnings{slog.Default().Handler()})
	}
	c.Retry = c.Retry.over(RetryPolicy{
		MaxAttempts: 5, FirstDelay: time.Second, Factor: 2, MaxDelay: 5 * time.Minute, Jitter: 0.2,
	})
	setDefault(&c.BlockedFor, 24*time.Hour)
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.LockTimeout, 10*time.Second)
	setDefault(&c.PayloadLimit, 1<<20)
	setDefault(&c.Concurrency, 100)
	setDefault(&c.PollInterval, 250*time.Millisecond)
	setDefault(&c.Lease, 30*time.Second)
	setDefault(&c.ParkAfter, 5*time.Second)
	setDefault(&c.MaxSteps, 10_000)
	setDefault(&c.Drain, 30*time.Second)
	setDefault(&c.RedispatchAfter, time.Minute)
	return c
}

// warnings is a handler that drops whatever is less than a warning.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}
func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate expects a config with defaults.
func (c Config) validate() error {
	switch {
	case c.DB == nil && c.DSN == "":
		return errors.New("workflow: Config.DB and Config.DSN are both empty: set one of them")
	case c.DB != nil && c.DSN != "":
		return errors.New("workflow: Config.DB and Config.DSN are both set: set one of them")
	case c.DB == nil && !slices.Contains(sql.Drivers(), c.Driver):
		return fmt.Errorf("workflow: Config.Driver %q is not registered with database/sql: import its package, "+
			"for example _ %q for \"postgres\" or _ %q for \"pgx\"",
			c.Driver, "github.com/lib/pq", "github.com/jackc/pgx/v5/stdlib")
	}
	if err := migrations.ValidateSchema(c.Schema); err != nil {
		return fmt.Errorf("workflow: Config.Schema: %w", err)
	}
	if c.Statements < StatementsAuto || c.Statements > StatementsInTx {
		return fmt.Errorf("workflow: Config.Statements is %d: use StatementsAuto, StatementsSingle or StatementsInTx", c.Statements)
	}
	if err := c.Retry.validate(); err != nil {
		return fmt.Errorf("workflow: Config.Retry: %w", err)
	}
	if c.Version != "" {
		if err := checkName("Config.Version", c.Version, maxName); err != nil {
			return err
		}
	}
	if err := checkServe(c.Serve); err != nil {
		return err
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"Timeout", int64(c.Timeout)}, {"LockTimeout", int64(c.LockTimeout)},
		{"PayloadLimit", int64(c.PayloadLimit)}, {"Concurrency", int64(c.Concurrency)},
		{"PollInterval", int64(c.PollInterval)}, {"Lease", int64(c.Lease)}, {"Drain", int64(c.Drain)},
		{"BlockedFor", int64(c.BlockedFor)}, {"ParkAfter", int64(c.ParkAfter)}, {"MaxSteps", int64(c.MaxSteps)},
		{"RedispatchAfter", int64(c.RedispatchAfter)}, {"Retention", int64(c.Retention)},
	} {
		if field.value < 0 {
			return fmt.Errorf("workflow: Config.%s is negative: use zero for the default", field.name)
		}
	}
	if c.Lease < minLease {
		return fmt.Errorf("workflow: Config.Lease is %s: use at least %s", c.Lease, minLease)
	}
	return nil
}

func checkServe(queues []string) error {
	for i, name := range queues {
		if name != NoQueue {
			if err := checkName("Config.Serve: queue name", name, maxName); err != nil {
				return err
			}
		}
		if slices.Contains(queues[:i], name) {
			return fmt.Errorf("workflow: Config.Serve names queue %q twice", name)
		}
	}
	return nil
}
