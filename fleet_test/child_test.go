package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A job is what a worker process does.
type job struct {
	Does        string // by name, in jobs
	Driver, URL string
	Skew        time.Duration // of its wall clock
	Lease       time.Duration // or the usual one
	Concurrency int           // or the usual one
	Poll        time.Duration // or the usual one
	Log         bool
}

var jobs = map[string]func(*sql.DB, *workflow.Service){
	"journey": func(db *sql.DB, svc *workflow.Service) { svc.Register(journey(db)) },
	"zombie":  func(db *sql.DB, svc *workflow.Service) { svc.Register(holding(db, heldByParent{})) },
	"doom":    func(_ *sql.DB, svc *workflow.Service) { svc.Register(doom(killed)) },

	"doom beside others": func(_ *sql.DB, svc *workflow.Service) { svc.Register(doom(killed), patient()) },
	"mailbox":            func(_ *sql.DB, svc *workflow.Service) { svc.Register(mailbox()) },
	"family":             func(_ *sql.DB, svc *workflow.Service) { svc.Register(family(), helper()) },
	"order, old":         func(db *sql.DB, svc *workflow.Service) { svc.Register(order(db, "old")) },
	"order, new":         func(db *sql.DB, svc *workflow.Service) { svc.Register(order(db, "new")) },

	"chores":   func(_ *sql.DB, svc *workflow.Service) { svc.Register(chore(), boss()) },
	"sleepers": func(_ *sql.DB, svc *workflow.Service) { svc.Register(sleeper()) },
	"unique":   func(db *sql.DB, svc *workflow.Service) { svc.Register(chore()); go startUnique(db, svc) },
}

// child is main in such a process: it works until it is told to stop, or killed.
func child(j job) error {
	if j.Skew != 0 {
		if err := skewClock(j.Skew); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println("clock", time.Now().Unix()) // it can be told to end from here on
	db, err := sql.Open(j.Driver, j.URL)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(12)
	db.SetMaxIdleConns(12)
	config := fast(db)
	if j.Lease != 0 {
		config.Lease = j.Lease
	}
	if j.Concurrency != 0 {
		config.Concurrency = j.Concurrency
	}
	if j.Poll != 0 {
		config.PollInterval = j.Poll
	}
	if j.Log {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	}
	svc, err := workflow.New(config)
	if err != nil {
		return err
	}
	jobs[j.Does](db, svc)
	return svc.Work(ctx)
}

// A process is a worker of its own.
type process struct {
	*kit.Process
	clock int64 // its wall clock when it began, in Unix seconds
}

func (f *fleet) spawn(j job) *process {
	f.t.Helper()
	if j.Driver == "" {
		j.Driver, j.URL = pgtest.PGX.Driver, f.pg.URL()
	}
	j.Log = os.Getenv("FLEET_LOG") != ""
	p := &process{Process: kit.Spawn(f.t, j)}
	_, err := fmt.Sscan(strings.TrimPrefix(p.Line(), "clock "), &p.clock)
	kit.Must(f.t, err)
	return p
}
