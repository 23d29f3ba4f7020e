package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// How many cuts are played at a time: most of each is waiting, but a crowd that connects all at once makes leases end.
var seats = make(chan struct{}, 16)

// Each story is played once without a cut, and then with a cut before and after each of its statements (of a transaction, but
// for make soak, before and after its COMMIT).
func TestCutAtEveryStatement(t *testing.T) {
	t.Parallel()
	ways := crossed()
	if !pgtest.Full() {
		ways = ways[:1]
	}
	for _, way := range ways {
		for _, story := range stories {
			t.Run(way.name+"/"+story.name, func(t *testing.T) {
				t.Parallel()
				cutEverywhere(t, way, story)
			})
		}
	}
}

func cutEverywhere(t *testing.T, way way, story story) {
	w, whole, before, uncut := uncutPlay(t, way, story)
	if uncut.Run["status"] != "completed" || uncut.Run["owner"] != nil {
		t.Fatalf("uncut: %v", uncut.Run)
	}
	checkCut(t, whole, before, uncut, uncut)
	checkHistory(t, w.side, whole.runID)
	statements := whole.first.trace()
	t.Logf("%d statements: %s", len(statements), strings.Join(statements, "; "))
	n := len(statements)
	if story.beats > 0 {
		n = w.beatStatements()
	}

	var all sync.WaitGroup
	defer all.Wait()
	for i := range 2 * n {
		at := cut{n: i/2 + 1, after: i%2 == 1}
		// In a transaction the server makes no difference until its end, which leaves what is before and after that.
		if inTx := way.statements == workflow.StatementsInTx; inTx && !pgtest.Soak() && !strings.HasPrefix(statements[i/2], "COMMIT") {
			continue
		}
		seats <- struct{}{}
		all.Go(func() {
			defer func() { <-seats }()
			t.Run(at.String(), func(t *testing.T) {
				w := w
				if story.orphan {
					w = newTheatre(t, way, story)
				}
				s, atCut, end := w.play(t, at, whole.ledger)
				if !s.first.isDead() && !story.varies && s.takeOvers(t)+s.lostLeases() == 0 {
					t.Errorf("was not reached: %q", s.first.trace())
				}
				checkCut(t, s, atCut, end, uncut)
				checkHistory(t, w.side, s.runID)
				if t.Failed() {
					t.Logf("cut %s: %q", at, s.first.trace())
				}
			})
		})
	}
}

// A connection is lost at each statement of the stories in turn, and the process lives on: what was done once is not done
// again, and no answer but the lost one is missed. A transactional step may be called again, when nothing of it is left.
func TestConnectionLostAtEveryStatement(t *testing.T) {
	t.Parallel()
	ways := crossed()
	if !pgtest.Full() {
		ways = ways[1:2] // few statements: quick
	}
	for _, way := range ways {
		for _, story := range stories {
			if story.orphan || story.varies || story.beats > 0 {
				continue
			}
			t.Run(way.name+"/"+story.name, func(t *testing.T) {
				t.Parallel()
				loseEverywhere(t, way, story)
			})
		}
	}
}

func loseEverywhere(t *testing.T, way way, story story) {
	w, whole, _, uncut := uncutPlay(t, way, story)
	n := len(whole.first.trace()) - w.statements(2) // the end of Work is not of interest
	var all sync.WaitGroup
	defer all.Wait()
	for i := range 2 * n {
		at := cut{n: i/2 + 1, after: i%2 == 1, lives: true}
		seats <- struct{}{}
		all.Go(func() {
			defer func() { <-seats }()
			t.Run(at.String(), func(t *testing.T) { w.lose(t, at, uncut) })
		})
	}
}

func (w *theatre) lose(t *testing.T, at cut, uncut rowsOf) {
	name := strings.ReplaceAll(at.String(), " ", "-")
	s := &stage{theatre: w, ledger: newLedger(), runID: name}
	var db *sql.DB
	s.first, db = newProcess(t, w.pg, w.way.access, name, at)
	s.openQueue(t)
	svc := w.service(t, db)
	svc.Register(s.cast(s.first, func() {})...)
	for err := s.start(t, svc, db); err != nil; err = s.start(t, svc, db) {
		if !errors.Is(err, errLost) {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := svc.Work(ctx)
		for errors.Is(err, errLost) { // it could not register
			err = svc.Work(ctx)
		}
		ended <- err
	}()
	kit.Must(t, <-s.await(t))
	stop()
	kit.Must(t, <-ended)

	takeOvers := s.takeOvers(t)
	select {
	case <-s.first.lost:
	default:
		if takeOvers == 0 {
			t.Errorf("was not reached")
		}
	}
	end := read(t, w.side, s.runID)
	if diff := cmp.Diff(uncut.withoutAttempts(), end.withoutAttempts()); diff != "" {
		t.Errorf("rows in the end (-uncut +cut):\n%s", diff)
	}
	if diff := cmp.Diff(end.succeeded("tx"), end.Books); diff != "" {
		t.Errorf("promise 3, a transactional step is exactly once (-recorded +effects):\n%s", diff)
	}
	checkHistory(t, w.side, s.runID)
	for e, times := range s.ledger.effects[name] {
		if times > 1+takeOvers+s.lostLeases() && !slices.Contains(end.Books, e.key) {
			t.Errorf("%v took effect %d times, and the run was taken over %d times", e, times, takeOvers)
		}
	}
	if t.Failed() {
		t.Logf("lost %s: %q", at, s.first.trace())
	}
}

// The answer to a claim is lost while the worker has so much to do that it claims all the time: the run is found all the
// same.
func TestLostClaimOfABusyWorker(t *testing.T) {
	t.Parallel()
	pg := pgtest.New(t)
	p, db := newProcess(t, pg, pgtest.PGX, "busy", cut{n: 3, after: true, lives: true}) // create, register, claim
	svc, err := workflow.New(workflow.Config{DB: db, Statements: workflow.StatementsSingle, Lease: lease, PollInterval: time.Millisecond})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	quick := workflow.Define("quick", func(context.Context, int) (int, error) { return 1, nil })
	svc.Register(quick)
	handle, err := quick.Start(t.Context(), svc, 1)
	kit.Must(t, err)
	stop := kit.Work(t, svc)
	<-p.lost

	busy, ctx := sync.WaitGroup{}, kit.Context(t)
	ctx, idle := context.WithCancel(ctx)
	for range 4 {
		busy.Go(func() {
			for ctx.Err() == nil {
				if _, err := quick.Start(ctx, svc, 1); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if _, err := handle.Result(ctx); err != nil {
		t.Errorf("owned, not held, and not released: %v", err)
	}
	idle()
	busy.Wait()
	stop()
}

// A driver that ignores its context (lib/pq on a dead network) gives an answer when nobody waits for it any more: the write
// was sent again meanwhile, was done once, and the answer disturbs nobody.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	for _, label := range []string{"checkpoint_step", "record_failure", "park_run", "end_run"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			pg := pgtest.New(t)
			p, db := newProcess(t, pg, pgtest.PGX, "late", cut{})
			come := make(chan struct{})
			p.late = map[string]<-chan struct{}{label: come}
			svc, err := workflow.New(workflow.Config{
				DB: db, Statements: workflow.StatementsSingle, PollInterval: shortPoll, ParkAfter: time.Millisecond,
				Timeout: time.Second, Lease: lease,
			})
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, svc.Close()) })
			effects := newLedger()
			w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
					effects.took("late", effect{"s", workflow.Attempt(ctx)})
					if workflow.Attempt(ctx) == 1 {
						return 0, &workflow.Error{Code: "early"}
					}
					return 1, nil
				}, soon)
			})
			svc.Register(w)
			kit.Work(t, svc)
			handle, err := w.Start(t.Context(), svc, 1)
			kit.Must(t, err)
			got, err := handle.Result(kit.Context(t))
			close(come)
			if err != nil || got != 1 {
				t.Errorf("result %d, %v", got, err)
			}
			want := map[effect]int{{"s", 1}: 1, {"s", 2}: 1}
			if diff := cmp.Diff(want, effects.effects["late"], cmp.AllowUnexported(effect{})); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			step, err := svc.GetStepState(t.Context(), handle.RunID(), "s")
			if err != nil || step.Attempts == nil || step.Attempts.Count != 1 || len(step.Attempts.Failures) != 1 {
				t.Errorf("step: %+v, %v; want one failed attempt", step, err)
			}
		})
	}
}
