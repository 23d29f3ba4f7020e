package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A theatre is a database with the process that takes over.
type theatre struct {
	way    way
	story  story
	pg     *pgtest.Database
	side   *sql.DB // looks on
	second *process
	db     *sql.DB           // the second's
	svc    *workflow.Service // the second's
}

func newTheatre(t *testing.T, way way, story story) *theatre {
	t.Helper()
	if story.counts == nil {
		story.counts = ofRuns
	}
	w := &theatre{way: way, story: story, pg: pgtest.New(t)}
	w.side = w.pg.Open(t, pgtest.PQ)
	w.side.SetMaxIdleConns(8)
	kit.Exec(t, w.side, remember)
	w.second, w.db = newProcess(t, w.pg, w.way.access, secondName, cut{})
	w.svc = w.service(t, w.db)
	if !story.orphan { // else it would not leave that for the first
		kit.Work(t, w.svc)
	}
	return w
}

// beatStatements returns how many statements the heartbeats have: itself, take over, forget workers.
func (w *theatre) beatStatements() int {
	return w.statements(3 * w.story.beats)
}

// statements returns what n lone statements count as.
func (w *theatre) statements(n int) int {
	if w.way.statements == workflow.StatementsInTx {
		return 3 * n
	}
	return n
}

func (w *theatre) service(t *testing.T, db *sql.DB) *workflow.Service {
	t.Helper()
	park := w.story.park
	if park == 0 {
		park = time.Minute
	}
	svc, err := workflow.New(workflow.Config{
		DB: db, Statements: w.way.statements, Lease: lease, PollInterval: shortPoll,
		ParkAfter: park, Drain: 100 * time.Millisecond,
	})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return svc
}

// as returns the workflow as a process knows it.
func (s *stage) as(p *process, stop func()) *workflow.Workflow[string, string] {
	a := &actor{stage: s, process: p, stop: stop}
	return workflow.Define("w "+s.runID, func(ctx context.Context, in string) (string, error) {
		if err := s.story.body(ctx, a); err != nil {
			return "", err
		}
		return in + ", done", nil
	})
}

// cast are all workflows as a process knows them.
func (s *stage) cast(p *process, stop func()) []workflow.Definition {
	return []workflow.Definition{s.as(p, stop), s.assistant(p)}
}

// assistant is the workflow that stories call.
func (s *stage) assistant(p *process) *workflow.Workflow[string, string] {
	a := &actor{stage: s, process: p}
	return workflow.Define("assistant "+s.runID, func(ctx context.Context, key string) (string, error) {
		return workflow.Do(ctx, "assist", func(ctx context.Context) (string, error) { return "did " + key, a.take(ctx, key) }, soon)
	})
}

// start is what the application does, in whichever process: it does not know what became of an earlier try.
func (s *stage) start(t *testing.T, svc *workflow.Service, db *sql.DB) error {
	w, options := s.as(nil, nil), []workflow.StartOption{workflow.WithRunID(s.runID)}
	if s.story.queued {
		options = append(options, workflow.WithQueue(s.runID))
	}
	switch {
	case s.story.orphan:
		_, err := w.Start(t.Context(), s.svc, "in", options...)
		kit.Must(t, err)
		kit.Exec(t, s.side, "INSERT INTO workflows.workflow_workers VALUES ('nobody', 1)")
		kit.Exec(t, s.side, "UPDATE workflows.workflow_runs SET status = 'running', owner = 'nobody', epoch = 7, run_at = NULL")
		return nil
	case !s.story.startTx:
		_, err := w.Start(t.Context(), svc, "in", options...)
		return err
	}
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err = tx.Exec("INSERT INTO orders VALUES ($1) ON CONFLICT DO NOTHING", s.runID); err != nil {
		return err
	}
	if _, err := w.Start(t.Context(), svc.In(tx), "in", options...); err != nil {
		return err
	}
	return tx.Commit()
}

// play plays the story once and returns what the database had when the first process was no more, and in the end.
func (w *theatre) play(t *testing.T, at cut, uncut *ledger) (s *stage, atCut, end rowsOf) {
	t.Helper()
	name := strings.ReplaceAll(at.String(), " ", "-")
	s = &stage{theatre: w, ledger: newLedger(), runID: name, uncut: uncut}
	var db *sql.DB
	s.first, db = newProcess(t, w.pg, w.way.access, name, at)
	s.first.counts = w.story.counts
	s.openQueue(t)
	svc := w.service(t, db)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	begin := func() {
		svc.Register(s.cast(s.first, stop)...)
		go func() { ended <- svc.Work(ctx) }()
	}
	if s.story.working {
		begin()
		kit.Until(t, "it works, or is cut", func() bool {
			_, claimed := s.first.newest("claim_runs")
			return claimed || s.first.isDead()
		})
	}
	err := s.start(t, svc, db)
	if err != nil && !s.first.isDead() {
		t.Fatal(err)
	}
	s.ledger.started = err == nil
	var result chan error
	if s.ledger.started {
		result = s.await(t)
	}
	if !s.story.working {
		begin()
	}

	finished := false
	select {
	case err := <-result: // not cut, yet
		kit.Must(t, err)
		finished = true
		stop()
		err = <-ended
		if !s.first.isDead() {
			kit.Must(t, err)
		}
	case err := <-ended: // drained, perhaps
		if !s.first.isDead() {
			kit.Must(t, err)
		}
	case <-s.first.dead:
	}
	s.bury(t)
	atCut = read(t, w.side, s.runID)

	w.svc.Register(s.cast(w.second, func() {})...)
	if w.story.orphan {
		kit.Work(t, w.svc)
	}
	if atCut.Run == nil {
		kit.Must(t, s.start(t, w.svc, w.db))
	}
	if result == nil {
		result = s.await(t)
	}
	if !finished {
		kit.Must(t, <-result)
	}
	return s, atCut, read(t, w.side, s.runID)
}

// openQueue makes the queue of a story.
func (s *stage) openQueue(t *testing.T) {
	t.Helper()
	if s.story.queued {
		kit.Must(t, s.svc.EnsureQueue(t.Context(), workflow.Queue{Name: s.runID, MaxRunning: 1}))
	}
}

// uncutPlay plays a story without a cut, in a theatre to cut it in. On a machine so busy that a lease ends meanwhile there
// are statements that belong to that, and it is played again.
func uncutPlay(t *testing.T, way way, story story) (w *theatre, whole *stage, before, end rowsOf) {
	t.Helper()
	for range 10 {
		w = newTheatre(t, way, story)
		whole, before, end = w.play(t, cut{}, newLedger())
		if whole.first.registrations() == 1 && whole.takeOvers(t) == 0 {
			return w, whole, before, end
		}
	}
	t.Fatal("a lease ended each time")
	return nil, nil, rowsOf{}, rowsOf{}
}

// takeOvers returns how often the run, or one that it called, was taken from a worker whose lease had ended: of a process that was killed, or of
// one that a busy machine kept from its heartbeats. Each time, the steps in flight may run again.
func (s *stage) takeOvers(t *testing.T) int {
	t.Helper()
	var n int
	kit.Must(t, s.side.QueryRow(`
		SELECT count(*) FROM history
		WHERE (run_id = $1 OR run_id LIKE $1 || '.%') AND step IS NULL AND owner_was <> 'nobody' AND NOT owner_lives AND epoch > epoch_was`, s.runID).Scan(&n))
	return n
}

// lostLeases returns how often the first process had to ask for a new lease, on a machine too busy for its heartbeats. What it
// was doing may be done again then, whether its run is taken over or handed back when Work ends.
func (s *stage) lostLeases() int { return max(0, s.first.registrations()-1) }

func (s *stage) await(t *testing.T) chan error {
	result := make(chan error, 1)
	go func() {
		out, err := s.as(nil, nil).Handle(s.svc, s.runID).Result(kit.Context(t))
		if err == nil && out != "in, done" {
			err = fmt.Errorf("result %q", out)
		}
		result <- err
	}()
	return result
}

// bury waits until the server has seen the last of the first process, if it is dead, and lets its lease end.
func (s *stage) bury(t *testing.T) {
	t.Helper()
	if !s.first.isDead() {
		return
	}
	kit.Until(t, "the server notices that the process is dead", func() bool {
		return kit.One[int](t, s.side, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()",
			s.first.name) == 0
	})
	kit.Exec(t, s.side, "UPDATE workflows.workflow_workers SET expires_at = 1 FROM registered WHERE id = worker AND writer = $1", s.first.name)
}
