package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A stage is one step of a workflow's function.
type stage struct {
	kind, name string
	branch     string // that it is reached in, or none
}

func plain(name string) stage  { return stage{kind: "plain", name: name} }
func inTx(name string) stage   { return stage{kind: "tx", name: name} }
func nap(name string) stage    { return stage{kind: "sleep", name: name} }
func failed(name string) stage { return stage{kind: "failed", name: name} }

// in puts stages in a branch.
func in(branch string, stages ...stage) []stage {
	for i := range stages {
		stages[i].branch = branch
	}
	return stages
}

// code is a workflow's function as one release has it.
type code struct {
	workflow string // its name; "" for a common one
	release  string
	stages   []stage
	swallows bool // the errors of its steps
	holds    bool // in the end: it waits there until its worker stops
}

// A release is such code on a bench: it counts the calls and notes the effects in the database.
type release struct {
	b     *bench
	code  code
	w     *workflow.Workflow[int, int]
	calls atomic.Int32
	held  chan struct{} // a token for each run that holds
	mu    sync.Mutex
	times []time.Time // of the calls
}

func (b *bench) release(c code) *release {
	r := &release{b: b, code: c, held: make(chan struct{}, 1000)}
	if c.workflow == "" {
		c.workflow = "deployed"
	}
	r.w = workflow.Define(c.workflow, r.call)
	return r
}

func (r *release) call(ctx context.Context, n int) (int, error) {
	r.calls.Add(1)
	r.mu.Lock()
	r.times = append(r.times, time.Now())
	r.mu.Unlock()
	for _, s := range r.code.stages {
		if err := r.step(ctx, s); err != nil && !r.code.swallows {
			return 0, err
		}
	}
	if r.code.holds {
		r.held <- struct{}{}
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	return n, nil
}

const insertEffect = "INSERT INTO effects VALUES ($1, $2, $3)"

func (r *release) step(ctx context.Context, s stage) error {
	if s.branch != "" {
		ctx = workflow.Branch(ctx, s.branch)
	}
	switch s.kind {
	case "sleep":
		return workflow.Sleep(ctx, s.name, time.Millisecond)
	case "tx":
		_, err := workflow.DoTx(ctx, s.name, func(ctx context.Context, tx *sql.Tx) (string, error) {
			_, err := tx.ExecContext(ctx, insertEffect, workflow.RunID(ctx), s.name, r.code.release)
			return r.code.release, err
		})
		return err
	case "failed":
		_, err := workflow.Do(ctx, s.name, func(ctx context.Context) (string, error) {
			_, err := r.b.db.ExecContext(ctx, insertEffect, workflow.RunID(ctx), s.name, r.code.release)
			return "", workflow.Final(errors.Join(err, errors.New("expected")))
		})
		if err == nil || errors.Is(err, workflow.ErrInterrupted) || errors.Is(err, errMismatch) {
			return err
		}
		return nil // handled
	default:
		_, err := workflow.Do(ctx, s.name, func(ctx context.Context) (string, error) {
			_, err := r.b.db.ExecContext(ctx, insertEffect, workflow.RunID(ctx), s.name, r.code.release)
			return r.code.release, err
		})
		return err
	}
}

var errMismatch = &workflow.Error{Code: "nondeterministic"}

// deploy makes a worker of the release work, until the test ends or the function that it returns is called.
func (r *release) deploy(changes ...func(*workflow.Config)) (stop func()) {
	r.b.t.Helper()
	return r.b.deploy([]*release{r}, changes...)
}

// deploy makes a worker of releases of several workflows.
func (b *bench) deploy(releases []*release, changes ...func(*workflow.Config)) (stop func()) {
	b.t.Helper()
	changes = append(changes, func(c *workflow.Config) { c.Drain = 10 * time.Millisecond })
	svc := b.service(changes...)
	for _, r := range releases {
		svc.Register(r.w)
	}
	return kit.Work(b.t, svc)
}

// history executes a run by a release that holds in its end, and takes that away again.
func (r *release) history() (handle *workflow.Handle[int]) {
	r.b.t.Helper()
	return r.b.history([]*release{r})[0]
}

// history executes a run by each of several releases.
func (b *bench) history(releases []*release) (handles []*workflow.Handle[int]) {
	b.t.Helper()
	for _, r := range releases {
		handle, err := r.w.Start(b.t.Context(), b.svc, 7)
		kit.Must(b.t, err)
		handles = append(handles, handle)
	}
	stop := b.deploy(releases)
	for _, r := range releases {
		kit.Receive(b.t, "the first release comes to its end", r.held)
	}
	stop()
	return handles
}

// with returns the bench for a subtest.
func (b *bench) with(t *testing.T) *bench {
	c := *b
	c.t = t
	return &c
}

// blocked waits until the run is suspended by a mismatch, and returns it.
func (b *bench) blocked(runID string) (run workflow.Run) {
	b.t.Helper()
	kit.Until(b.t, "the run is blocked", func() bool {
		run = b.get(runID)
		if run.Status == workflow.RunCompleted || run.Status == workflow.RunFailed {
			b.t.Fatalf("the run is %s with error %v, effects %v; want it suspended", run.Status, run.Err, b.effects(runID))
		}
		return run.Status == workflow.RunSuspended && run.Err != nil
	})
	return run
}

// by counts the effects that a release had on a run.
func (b *bench) by(release, runID string) (n int) {
	b.t.Helper()
	for _, who := range b.effects(runID) {
		for _, one := range who {
			if one == release {
				n++
			}
		}
	}
	return n
}

// once checks that no step of a run took effect twice.
func (b *bench) once(t *testing.T, runID string) {
	t.Helper()
	for step, who := range b.effects(runID) {
		if len(who) != 1 {
			t.Errorf("step %q took effect by %v, want once", step, who)
		}
	}
}
