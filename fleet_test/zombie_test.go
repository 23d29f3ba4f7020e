package fleet_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A holder stops a run in the middle of something, until it is told to go on.
type holder interface {
	hold()
	zombie() bool // it will have lost the run by then
	out()         // the function returns
}

// What a zombie is about to write when it is held.
var zombieWrites = []string{
	"step", "tx step", "failed attempt", "failed step", "failed tx step", "sleep", "park", "completed run", "failed run", "release",
}

// holding holds before the write that its input names. Who is no zombie goes on to the result "right".
func holding(db *sql.DB, h holder) *workflow.Workflow[string, string] {
	return workflow.Define("holding", func(ctx context.Context, write string) (string, error) {
		defer h.out()
		s, err := arrive(ctx, db)
		if err != nil {
			return "", err
		}
		if _, err := s.plain(ctx, "", "before", 1, 0); err != nil {
			return "", err
		}
		if write != "park" || !h.zombie() {
			held, err := s.held(ctx, h, write)
			if held || err != nil {
				return "right", err
			}
			h.hold()
		}
		if h.zombie() {
			return s.haunt(ctx, h, write)
		}
		if write == "park" {
			if err := workflow.Sleep(ctx, "held", time.Second); err != nil {
				return "", err
			}
		}
		return "right", nil
	})
}

// held executes the step that holds inside it, if the write is that of a step.
func (s scribe) held(ctx context.Context, h holder, write string) (held bool, err error) {
	outcome := func(failure error) (int, error) {
		h.hold()
		if !h.zombie() {
			failure = nil
		}
		return 1, failure
	}
	failures := map[string]error{
		"step": nil, "tx step": nil, "failed attempt": errFlaky, "failed step": workflow.Final(errFlaky), "failed tx step": workflow.Final(errFlaky),
	}
	failure, held := failures[write]
	switch {
	case !held:
		return false, nil
	case strings.Contains(write, "tx"):
		_, err = workflow.DoTx(ctx, "held", func(ctx context.Context, tx *sql.Tx) (int, error) {
			if err := s.effect(ctx, tx, "held", "tx"); err != nil {
				return 0, err
			}
			return outcome(failure)
		})
	default:
		_, err = workflow.Do(ctx, "held", func(ctx context.Context) (int, error) {
			if err := s.effect(ctx, s.db, "held", "plain"); err != nil {
				return 0, err
			}
			return outcome(failure)
		})
	}
	return true, err
}

// haunt does what a zombie does outside steps.
func (s scribe) haunt(ctx context.Context, h holder, write string) (string, error) {
	switch write {
	case "sleep":
		return "wrong", workflow.Sleep(ctx, "wrong", time.Hour)
	case "park":
		err := workflow.Sleep(ctx, "held", time.Second)
		h.hold()
		return "wrong", err
	case "failed run":
		return "", errFlaky
	case "release":
		_, err := s.plain(ctx, "", "wrong", 1, 0)
		return "wrong", err
	default:
		return "wrong", nil
	}
}

// heldByParent talks with the process that spawned this one.
type heldByParent struct{}

func (heldByParent) hold() {
	fmt.Println("inside")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}
func (heldByParent) zombie() bool { return true }
func (heldByParent) out()         { fmt.Println("out") }

// heldHere is another worker of this process.
type heldHere struct {
	inside, release, left chan struct{}
	isZombie              bool
}

func newHeldHere(zombie bool) heldHere {
	return heldHere{make(chan struct{}, 10), make(chan struct{}), make(chan struct{}, 10), zombie}
}

func (h heldHere) hold() {
	h.inside <- struct{}{}
	<-h.release
}
func (h heldHere) zombie() bool { return h.isZombie }
func (h heldHere) out()         { h.left <- struct{}{} }

// A frozen is a worker that has lost its lease, and does not know.
type frozen interface {
	thaw()       // what it was held by is over
	tellToStop() // Work is to end
	stopped()    // waits for its end
}

// frozenProcess was stopped by SIGSTOP for longer than its lease.
type frozenProcess struct{ *process }

func (f *fleet) freezeProcess() frozen {
	p := f.spawn(job{Does: "zombie"})
	p.Says("inside")
	p.Signal(syscall.SIGSTOP)
	return frozenProcess{p}
}

func (z frozenProcess) thaw() {
	z.Tell("go on")
	z.Signal(syscall.SIGCONT)
	z.Says("out")
}
func (z frozenProcess) tellToStop() { z.Signal(syscall.SIGTERM) }
func (z frozenProcess) stopped()    { z.Terminate() }

// unaware is a worker whose lease the database has ended: no clock and no heartbeat has told it yet, and it is held back by
// the guard of each write alone.
type unaware struct {
	f    *fleet
	held heldHere
	stop context.CancelFunc
	done chan error
}

func (f *fleet) freezeHere() frozen {
	z := unaware{f: f, held: newHeldHere(true), done: make(chan error, 1)}
	svc := f.service(f.db, func(c *workflow.Config) { c.Lease = 2 * kit.Patience })
	svc.Register(holding(f.db, z.held))
	ctx, stop := context.WithCancel(context.Background())
	z.stop = stop
	f.t.Cleanup(stop)
	go func() { z.done <- svc.Work(ctx) }()
	kit.Receive(f.t, "the zombie is inside", z.held.inside)
	f.exec(endLeases)
	return z
}

const endLeases = "UPDATE workflows.workflow_workers SET expires_at = extract(epoch FROM clock_timestamp()) * 1000 - 1"

func (z unaware) thaw() {
	z.f.t.Helper()
	close(z.held.release)
	kit.Receive(z.f.t, "the zombie's function returns", z.held.left)
}
func (z unaware) tellToStop() { z.stop() }
func (z unaware) stopped() {
	z.f.t.Helper()
	z.stop()
	kit.Must(z.f.t, kit.Receive(z.f.t, "the zombie stops", z.done))
}

// A worker that has lost its lease writes nothing of a run, whatever it was about to write.
func TestZombiesWriteNothing(t *testing.T) {
	t.Parallel()
	for name, freeze := range map[string]func(*fleet) frozen{"stopped": (*fleet).freezeProcess, "unaware": (*fleet).freezeHere} {
		for _, write := range zombieWrites {
			t.Run(name+" before "+write, func(t *testing.T) {
				t.Parallel()
				if name == "stopped" && !pgtest.Full() && !slices.Contains([]string{"step", "tx step", "failed attempt"}, write) {
					t.Skip("in full mode")
				}
				f := setup(t)
				f.zombie(freeze, write)
			})
		}
	}
}

func (f *fleet) zombie(freeze func(*fleet) frozen, write string) {
	t := f.t
	client := f.service(f.db, nil)
	handle, err := holding(nil, nil).Start(t.Context(), client, write)
	kit.Must(t, err)
	zombie := freeze(f)

	here := newHeldHere(false)
	successor := f.service(f.db, nil)
	successor.Register(holding(f.db, here))
	kit.Work(t, successor)
	kit.Receive(t, "the successor is inside", here.inside)
	before := f.rows()
	if write == "release" {
		zombie.tellToStop()
	}
	zombie.thaw()
	zombie.stopped()
	if diff := cmp.Diff(before, f.rows()); diff != "" {
		t.Errorf("the zombie wrote (-before +after):\n%s", diff)
	}

	close(here.release)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != "right" {
		var failed *workflow.RunError
		t.Errorf("result %q, %v (failed: %t)\n\t%s", got, err, errors.As(err, &failed), f.story(handle.RunID()))
	}
	f.verify()
}

// rows returns the rows of all runs and steps, and of effects in transactions.
func (f *fleet) rows() []string {
	f.t.Helper()
	return f.lines(`
		SELECT run::text FROM workflows.workflow_runs AS run
		UNION ALL SELECT step::text FROM workflows.workflow_steps AS step
		UNION ALL SELECT effect::text FROM effects AS effect WHERE kind = 'tx'
		ORDER BY 1`)
}
