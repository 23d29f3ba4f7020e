package notify_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// through makes a service's notifier listen at another address.
func (d driver) through(t *testing.T, address string) func(*workflow.Config) {
	t.Helper()
	notifier, err := d.notifier(address)
	kit.Must(t, err)
	return func(c *workflow.Config) { c.Notifier = notifier }
}

func polls(c *workflow.Config) { c.PollInterval = 20 * time.Millisecond }

// Behind a pooler in transaction mode LISTEN succeeds. That nothing is heard is said in words that help, and polling goes on as if
// there was no notifier.
func TestBehindATransactionPooler(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		pooled := d.access
		pooled.Pooled = true
		worker := d.start(t, database, polls, d.through(t, database.AccessURL(t, pooled)))
		worker.Register(double)
		kit.Work(t, worker)
		kit.Until(t, "the service says that it hears nothing", func() bool {
			return worker.log.count("WARN", "notifications do not arrive", "pooler", "give the notifier a direct connection") > 0
		})
		stats, err := worker.Stats(t.Context())
		kit.Must(t, err)
		if stats.LastError == nil || !strings.Contains(stats.LastError.Error(), "direct connection") {
			t.Errorf("Stats.LastError is %v", stats.LastError)
		}
		looks := worker.count("claim_runs")
		begun := time.Now()
		kit.Until(t, "it polls as often as ever", func() bool { return worker.count("claim_runs") >= looks+20 })
		t.Logf("20 polls in %s", time.Since(begun))
		d.start(t, database).doubled(kit.Context(t), 1)
		if n := worker.log.count("INFO", "notifications arrive"); n > 0 {
			t.Error("it says that notifications arrive")
		}
	})
}

// A database that is not the service's is noticed in the same way.
func TestListeningToAnotherDatabase(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		worker := d.start(t, database, polls, d.through(t, pgtest.Empty(t).URL()))
		kit.Work(t, worker)
		kit.Until(t, "the service says that it hears nothing", func() bool {
			return worker.log.count("WARN", "notifications do not arrive", "another database") > 0
		})
	})
}

const listeners = `
	FROM pg_stat_activity
	WHERE datname = current_database() AND query ILIKE 'LISTEN%'`

// A listener whose connection the server ends is back at once.
func TestListenerIsTerminated(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		db := database.Open(t, d.access)
		worker := d.start(t, database).works(double)
		asks := d.start(t, database)
		asks.doubled(kit.Context(t), 0)
		for round := 1; round <= 2; round++ {
			pid := kit.One[int](t, db, "SELECT min(pid) "+listeners)
			kit.Exec(t, db, "SELECT pg_terminate_backend(pid) "+listeners)
			kit.Until(t, "it is gone", func() bool {
				return kit.One[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0
			})
			worker.hears(round + 1)
			asks.doubled(kit.Context(t), round)
		}
		if n := worker.log.count("WARN", "notifications do not arrive", "terminating connection"); n != 2 {
			t.Errorf("said %d times:\n%s", n, worker.log)
		}
	})
}

// A network that swallows everything is noticed within seconds, and costs no run more than the poll meanwhile. Nothing hangs on it, and
// once it works again notifications arrive.
func TestListenerInABlackHole(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		hole, address := kit.NewProxy(t, database.URL())
		worker := d.start(t, database, polls, d.through(t, address)).works(double)
		asks := d.start(t, database)
		asks.doubled(kit.Context(t), 0)
		hole.Silence()
		asks.doubled(kit.Within(t, 15*time.Second), 1) // a poll of 2 s, on a busy machine
		kit.Until(t, "the service says that it hears nothing any more", func() bool {
			return worker.log.count("WARN", "notifications do not arrive", "stopped to arrive") > 0
		})
		looks := worker.count("claim_runs")
		kit.Until(t, "it polls as often as without", func() bool { return worker.count("claim_runs") >= looks+20 })
		hole.SilenceOld()
		worker.hears(2)
		asks.doubled(kit.Context(t), 2)
		hole.Silence()
		begun := time.Now()
		kit.Must(t, worker.Close())
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}

// lossy is a notifier that loses whatever says that there is work.
type lossy struct{ workflow.Notifier }

func (l lossy) Listen(ctx context.Context, channel string, ready func(), heard func(string)) error {
	return l.Notifier.Listen(ctx, channel, ready, func(payload string) {
		if !strings.Contains(payload, `"work"`) && !strings.Contains(payload, `"runs"`) {
			heard(payload)
		}
	})
}

// What is lost on the way waits for a poll, and no longer.
func TestLostNotifications(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		loses := func(c *workflow.Config) { c.Notifier = lossy{c.Notifier} }
		d.start(t, database, polls, loses).works(double)
		asks := d.start(t, database, polls, loses)
		for i := range 3 {
			asks.doubled(kit.Within(t, 15*time.Second), i) // two polls of 2 s, on a busy machine
		}
	})
}

// A listener that cannot connect is no reason not to work, and its password is nowhere to be read.
func TestListenerCannotConnect(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		worker := d.start(t, database, polls, d.through(t, "postgres://somebody:hunter22@127.0.0.1:1/db?sslmode=disable"))
		worker.Register(double)
		kit.Work(t, worker)
		d.start(t, database).doubled(kit.Context(t), 1)
		kit.Until(t, "the service says so", func() bool {
			return worker.log.count("WARN", "notifications do not arrive", "refused") > 1
		})
		if strings.Contains(worker.log.String(), "hunter22") {
			t.Errorf("the log has the password:\n%s", worker.log)
		}
	})
}

// What cannot be sent because all connections are taken holds up nobody, and is no reason to take the listener for deaf.
func TestSendingWithoutAConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		var db *sql.DB
		p := d.start(t, database, func(c *workflow.Config) {
			db = c.DB
			db.SetMaxOpenConns(4)
		}).works(double)
		taken := make([]*sql.Conn, 0, 3)
		for range 3 { // the heart has the fourth
			conn, err := db.Conn(t.Context())
			kit.Must(t, err)
			taken = append(taken, conn)
		}
		kit.Until(t, "it says that it cannot send", func() bool {
			p.Wake()
			return p.log.count("WARN", "notify other processes") > 0
		})
		if n := p.log.count("WARN", "notifications do not arrive"); n > 0 {
			t.Errorf("taken for deaf:\n%s", p.log)
		}
		for _, conn := range taken {
			kit.Must(t, conn.Close())
		}
		d.start(t, database).doubled(kit.Context(t), 1)
	})
}
