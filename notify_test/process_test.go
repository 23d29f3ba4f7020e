package notify_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/notify/pgxnotify"
	"github.com/sqlworkflow/workflow/notify/pqnotify"
)

// A driver is one with its notifier.
type driver struct {
	access     pgtest.Access
	statements workflow.Statements
	notifier   func(dsn string) (workflow.Notifier, error)
}

var drivers = []driver{
	{pgtest.PQ, workflow.StatementsInTx, func(dsn string) (workflow.Notifier, error) { return pqnotify.New(dsn) }},
	{pgtest.PGX, workflow.StatementsSingle, func(dsn string) (workflow.Notifier, error) { return pgxnotify.New(dsn) }},
}

func eachDriver(t *testing.T, test func(t *testing.T, d driver)) {
	t.Parallel()
	for _, d := range drivers {
		t.Run(d.access.Name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// A process stands for one: a service that has a pool and a notifier of its own, and tells what it sends and logs.
type process struct {
	*workflow.Service
	t       testing.TB
	db      *sql.DB
	counter *counting.Counter
	log     *journal

	mu   sync.Mutex
	sent []string // statements, by name
}

// never is a poll, and a heartbeat, that a test does not live to see.
const never = 10 * time.Minute

// start returns a process that hears the others only by its notifier: it does not poll, and its heart does not beat.
func (d driver) start(t testing.TB, database *pgtest.Database, changes ...func(*workflow.Config)) *process {
	t.Helper()
	notifier, err := d.notifier(database.URL())
	kit.Must(t, err)
	db, counter, err := counting.Open(d.access.Driver, database.AccessURL(t, d.access))
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	db.SetMaxIdleConns(8)
	log := new(journal)
	config := workflow.Config{
		DB: db, Statements: d.statements, Notifier: notifier, Logger: slog.New(log), PollInterval: never, Lease: 6 * never,
	}
	for _, change := range changes {
		change(&config)
	}
	svc, err := workflow.New(config)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return &process{Service: svc, t: t, db: db, counter: counter, log: log}
}

// works makes it execute runs, and waits until it hears others.
func (p *process) works(definitions ...workflow.Definition) *process {
	p.t.Helper()
	p.Register(definitions...)
	kit.Work(p.t, p)
	p.hears(1)
	return p
}

// hears waits until it has begun to hear for the nth time, and has looked at all that it may have missed before.
func (p *process) hears(n int) {
	p.t.Helper()
	kit.Until(p.t, "notifications arrive", func() bool { return p.log.count("INFO", "notifications arrive") >= n })
}

// count returns how many statements of a name it has sent.
func (p *process) count(name string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, texts := p.counter.TakeTexts()
	for _, text := range texts {
		p.sent = append(p.sent, pg.NameOf(text))
	}
	for _, sent := range p.sent {
		if sent == name {
			n++
		}
	}
	return n
}

// idle reports whether no statement is under way, but for the connection that the heart of a worker has.
func (p *process) idle() bool { return p.db.Stats().InUse <= 1 }

// awaits returns how many look-ups of awaited runs it has sent.
func (p *process) awaits() int { return p.count("find_ended") }

// A journal keeps what is logged, a line an entry.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return nil
}

// count returns how many lines have all the words.
func (j *journal) count(words ...string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

var double = workflow.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// doubled starts a run and returns once it knows its result.
func (p *process) doubled(ctx context.Context, n int) {
	p.t.Helper()
	handle, err := double.Start(ctx, p, n)
	kit.Must(p.t, err)
	got, err := handle.Result(ctx)
	if err != nil || got != 2*n {
		p.t.Fatalf("result %d, %v\n%s", got, err, p.log)
	}
}
