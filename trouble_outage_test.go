package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The history of one run cannot be loaded in time: it alone waits, ever longer, and says why; once it can be loaded the run
// goes on. Runs that were claimed with it, and those that come later, do not notice.
func TestHistoryThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
		if _, err := workflow.Do(ctx, "before", value(n)); err != nil {
			return 0, err
		}
		return workflow.Do(ctx, "after", value(n))
	})
	const runs = 20
	ids := make([]string, runs)
	for i := range ids { // all have begun, and so are loaded
		id := fmt.Sprint("run ", i)
		_, err := b.svc.CreateRunWithID(t.Context(), id, "w", i)
		kit.Must(t, err)
		kit.Must(t, b.svc.SetStepResult(t.Context(), id, "before", i))
		ids[i] = id
	}
	kit.Exec(t, b.db, "UPDATE workflows.workflow_runs SET epoch = 1") // as runs have that were claimed before
	admin := b.role("GRANT USAGE ON SCHEMA public TO {role}")
	kit.Exec(t, admin, `
		CREATE SEQUENCE loads MINVALUE 0 START 0;
		SELECT nextval('loads');
		CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			PERFORM nextval('loads');
			PERFORM pg_sleep(60);
			RETURN true;
		END $$;
		ALTER TABLE workflows.workflow_steps ENABLE ROW LEVEL SECURITY;
		CREATE POLICY reading ON workflows.workflow_steps FOR SELECT 
			USING (CASE WHEN run_id = 'run 5' AND current_query() LIKE '%load_steps%' THEN slow() ELSE true END);
		CREATE POLICY adding ON workflows.workflow_steps FOR INSERT WITH CHECK (true);
		CREATE POLICY changing ON workflows.workflow_steps FOR UPDATE USING (true)`)
	loads := func() int { return kit.One[int](t, admin, "SELECT last_value FROM loads") }
	svc := b.service(func(c *workflow.Config) { c.Timeout = time.Second })
	svc.Register(w)
	kit.Work(t, svc)
	soon := kit.Within(t, busy)
	for i, id := range ids {
		if i == 5 {
			continue
		}
		if got, err := w.Handle(svc, id).Result(soon); err != nil || got != i {
			t.Errorf("run %d: %d, %v", i, got, err)
		}
	}
	before, began := loads(), time.Now()
	if before == 0 {
		t.Error("no load was slow: the test shows nothing")
	}
	for i := range 50 {
		handle, err := w.Start(t.Context(), svc, i)
		kit.Must(t, err)
		if got, err := handle.Result(kit.Within(t, busy)); err != nil || got != i {
			t.Fatalf("a later run: %d, %v", got, err)
		}
	}
	for time.Since(began) < 6*time.Second { // in which it might be loaded six times, at a second each
		kit.Pause(t.Context(), 100*time.Millisecond)
	}
	if n := loads() - before; n > 3 {
		t.Errorf("loaded %d times in %s, want ever more rarely", n, time.Since(began))
	}
	kit.Until(t, "the run waits, and says why", func() bool {
		run := b.get(ids[5])
		return run.Status == workflow.RunSuspended && run.Err != nil && run.Owner == ""
	})
	kit.Exec(t, admin, "ALTER TABLE workflows.workflow_steps DISABLE ROW LEVEL SECURITY")
	if got, err := w.Handle(svc, ids[5]).Result(kit.Context(t)); err != nil || got != 5 {
		t.Errorf("once it can be loaded: %d, %v", got, err)
	}
}

// A gate is a way to the database that can be shut.
type gate struct {
	net.Listener
	to    string
	open  atomic.Bool
	conns sync.WaitGroup
}

// newGate returns a gate to the database, and the database's address through it.
func newGate(t *testing.T, address string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(address)
	kit.Must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	g := &gate{Listener: listener, to: u.Host}
	g.conns.Go(g.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		g.conns.Wait()
	})
	u.Host = listener.Addr().String()
	return g, u.String()
}

func (g *gate) serve() {
	for {
		in, err := g.Accept()
		if err != nil {
			return
		}
		if !g.open.Load() {
			_ = in.Close()
			continue
		}
		out, err := net.Dial("tcp", g.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			g.conns.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

// A process that starts during a failover is not a process that exits: Work waits for the database, says so, and ends with
// its context all the same.
func TestWorkBeginsBeforeTheDatabaseIsThere(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PGX, pgtest.PQ} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			g, address := newGate(t, b.pg.AccessURL(t, access))
			db, err := sql.Open(access.Driver, address)
			kit.Must(t, err)
			defer db.Close()
			log := newJournal()
			svc := b.service(func(c *workflow.Config) { c.DB, c.Logger = db, slog.New(log) })
			w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
			svc.Register(w)
			ctx, cancel := context.WithCancel(t.Context())
			ended := kit.Go(t, func() error { return svc.Work(ctx) })
			kit.Until(t, "the log says that the database is away", func() bool { return len(log.all(slog.LevelWarn)) > 0 })
			select {
			case err := <-ended:
				t.Fatalf("Work has ended: %v", err)
			default:
			}
			cancel()
			if err := kit.Receive(t, "the end of Work", ended); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Work, told to stop while the database was away: %v", err)
			}

			ctx, cancel = context.WithCancel(context.Background())
			ended = kit.Go(t, func() error { return svc.Work(ctx) })
			said := len(log.all(slog.LevelWarn))
			kit.Until(t, "the log says so again", func() bool { return len(log.all(slog.LevelWarn)) > said })
			g.open.Store(true)
			handle, err := w.Start(t.Context(), b.svc, 7)
			kit.Must(t, err)
			if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
				t.Errorf("once the database is there: %d, %v", got, err)
			}
			cancel()
			kit.Must(t, kit.Receive(t, "the end of Work", ended))
		})
	}
}

// The runs of a dead worker are taken over when its lease ends, and not with a survivor's next look after that. Times are the
// database's. Three survivors, as one may look at the right moment by chance.
func TestTakeOverComesWithTheEndOfTheLease(t *testing.T) {
	t.Parallel()
	const lease = time.Minute // a heartbeat every 10 s
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	type neighbour struct {
		b     *bench
		runID string
		ends  int64 // its lease, by the database's clock
	}
	var dead []neighbour
	for range 3 {
		b := mortal(t)
		svc := b.service(func(c *workflow.Config) { c.Lease = lease })
		svc.Register(w)
		kit.Work(t, svc)
		kit.Until(t, "the survivor has its lease", func() bool {
			return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_workers") == 1
		})
		// A neighbour whose lease ends a moment after the survivor's first heartbeat.
		id, err := b.svc.CreateRun(t.Context(), "unknown", 7)
		kit.Must(t, err)
		kit.Exec(t, b.db, `
			INSERT INTO workflows.workflow_workers (id, expires_at)
			SELECT 'dead', expires_at - $1::bigint FROM workflows.workflow_workers`, (lease - lease/6 - time.Second).Milliseconds())
		kit.Exec(t, b.db, `
			UPDATE workflows.workflow_runs SET workflow = 'w', status = 'running', owner = 'dead', epoch = 1, run_at = NULL
			WHERE id = $1`, id)
		dead = append(dead, neighbour{b, id, kit.One[int64](t, b.db, "SELECT expires_at FROM workflows.workflow_workers WHERE id = 'dead'")})
	}
	for _, n := range dead {
		if got, err := w.Handle(n.b.svc, n.runID).Result(kit.Context(t)); err != nil || got != 7 {
			t.Fatalf("result %d, %v", got, err)
		}
		late := n.b.get(n.runID).UpdatedAt.Sub(time.UnixMilli(n.ends))
		if late < 0 || late > 5*time.Second { // the next look is nine seconds later
			t.Errorf("taken over %s after the end of the lease, want soon after it", late)
		}
	}
}
