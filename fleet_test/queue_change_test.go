package fleet_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// An era is the time in which a limit is in force: from some moment between begun and certain, in which its transaction commits, to one in
// which the next one's does.
type era struct {
	limit          int // 0: none
	begun, certain time.Time
}

// A limit goes down and up while processes claim, each time in a transaction that stays open for a while. Until it commits, the queue
// works on as it was; from then on the new limit holds: what runs goes on to its end, and nothing is added to it.
func TestLimitChangesWhileRunsBegin(t *testing.T) {
	t.Parallel()
	limits := []int{2, 8, 1, 0, 3}
	for range sized(0, 3, 20) {
		limits = append(limits, 6, 2, 8, 1, 0, 3)
	}
	const queue = "images"
	f, svc := setupQueues(t, workflow.Queue{Name: queue, MaxRunning: 5})
	eras := []era{{limit: 5}}
	pack := f.release(sized(2, 4, 4), job{Does: "chores"}, 0)
	stop := f.feed(svc, 4*time.Millisecond, queue)
	f.untilClaims(queue, 50)
	for _, limit := range limits {
		eras = append(eras, f.changeLimit(svc, workflow.Queue{Name: queue, MaxRunning: limit}))
		f.untilClaims(queue, 50)
	}
	runs := stop()
	f.untilAllEnd()
	pack.stop()
	f.checkEras(eras)
	f.checkChores(runs)
}

// changeLimit sets the queue in a transaction that stays open until 40 more runs have begun.
func (f *fleet) changeLimit(svc *workflow.Service, queue workflow.Queue) era {
	f.t.Helper()
	tx := kit.Begin(f.t, f.db)
	kit.Must(f.t, svc.In(tx).SetQueue(f.t.Context(), queue))
	f.untilClaims(queue.Name, 40)
	next := era{limit: queue.MaxRunning, begun: f.now()}
	kit.Must(f.t, tx.Commit())
	next.certain = f.now()
	return next
}

// checkEras compares what ran after each claim with the limits that may have been in force in its snapshot, which was taken between asked
// and at, and asks that each limit was reached.
func (f *fleet) checkEras(eras []era) {
	f.t.Helper()
	var values []string
	for i, e := range eras {
		until := "infinity"
		if i+1 < len(eras) {
			until = eras[i+1].certain.Format(time.RFC3339Nano)
		}
		limit := e.limit
		if limit == 0 {
			limit = 1 << 20
		}
		values = append(values, fmt.Sprintf("(%d, %d, timestamptz '%s', timestamptz '%s', timestamptz '%s')",
			i, limit, e.begun.Format(time.RFC3339Nano), e.certain.Format(time.RFC3339Nano), until))
	}
	query := `
		WITH era (i, most, begun, certain, until) AS (VALUES ` + strings.Join(values, ", ") + `), judged AS (
		    SELECT claims.*, (SELECT max(most) FROM era WHERE begun <= claims.at AND until >= claims.asked) AS may
		    FROM claims
		)`
	if broken := f.lines(query + `
		SELECT format('%s running, limit %s, at %s', running, may, asked) FROM judged WHERE running > may ORDER BY n`); len(broken) > 0 {
		f.t.Errorf("%d claims went beyond the limit: %s", len(broken), strings.Join(broken[:min(len(broken), 5)], "; "))
	}
	if unmet := f.lines(query + `
		SELECT format('%s in era %s', most, i) FROM era
		WHERE most < 1000 AND NOT EXISTS (
		    SELECT FROM claims WHERE asked > era.certain AND asked < era.until AND running = era.most)`); len(unmet) > 0 {
		f.t.Errorf("limits that were not reached: %s: the test shows nothing", strings.Join(unmet, ", "))
	}
	if f.count(query+`
		SELECT count(*) FROM judged JOIN era ON asked > certain AND asked < until WHERE most >= 1000 AND running > 8`) == 0 {
		f.t.Error("without a limit no more runs ran than with one: the test shows nothing")
	}
}

// A queue is paused and resumed under load, also in a transaction: nothing of it begins meanwhile, what runs ends, and its neighbour is not
// concerned.
func TestPausedQueue(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "paused", MaxRunning: 6}, workflow.Queue{Name: "neighbour", MaxRunning: 6})
	pack := f.release(2, job{Does: "chores"}, 0)
	stop := f.feed(svc, 4*time.Millisecond, "paused", "neighbour")
	f.untilClaims("paused", 30)
	ctx := t.Context()
	for i := range sized(2, 5, 40) {
		tx := kit.Begin(t, f.db)
		kit.Must(t, svc.In(tx).PauseQueue(ctx, "paused"))
		f.untilClaims("paused", 30) // the transaction is open
		if i%2 == 1 {
			kit.Must(t, tx.Rollback())
			f.untilClaims("paused", 30)
			kit.Must(t, svc.PauseQueue(ctx, "paused"))
		} else {
			kit.Must(t, tx.Commit())
		}
		paused := f.now()
		kit.Until(t, "what runs has ended", func() bool {
			return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE queue = 'paused' AND status = 'running'") == 0
		})
		f.untilClaims("neighbour", 100)
		if state, err := svc.GetQueue(ctx, "paused"); err != nil || state.PausedAt.IsZero() || state.Running != 0 || state.Waiting == 0 {
			t.Errorf("the paused queue: %+v, %v", state, err)
		}
		resumed := f.now()
		kit.Must(t, svc.ResumeQueue(ctx, "paused"))
		if n := f.count("SELECT count(*) FROM claims WHERE queue = 'paused' AND asked BETWEEN $1 AND $2", paused, resumed); n > 0 {
			t.Errorf("%d runs of the paused queue began", n)
		}
		f.untilClaims("paused", 30)
	}
	runs := stop()
	f.untilAllEnd()
	pack.stop()
	f.checkChores(runs)
}

// An open transaction that has set a queue, paused it or made sure of it keeps no other from starting runs in it, or from ending them.
func TestOpenChangeOfAQueueHoldsUpNobody(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "images", MaxRunning: 2})
	pack := f.release(1, job{Does: "chores"}, 0)
	first := 0
	for what, change := range map[string]func(tx *sql.Tx) error{
		"set": func(tx *sql.Tx) error {
			return svc.In(tx).SetQueue(t.Context(), workflow.Queue{Name: "images", MaxRunning: 1})
		},
		"ensure": func(tx *sql.Tx) error { return svc.In(tx).EnsureQueue(t.Context(), workflow.Queue{Name: "images"}) },
		"pause":  func(tx *sql.Tx) error { return svc.In(tx).PauseQueue(t.Context(), "images") },
		"resume": func(tx *sql.Tx) error { return svc.In(tx).ResumeQueue(t.Context(), "images") },
	} {
		tx := kit.Begin(t, f.db)
		kit.Must(t, change(tx))
		f.start(svc, first, first+20, func(n int) (task, []workflow.StartOption) {
			return task{N: n}, []workflow.StartOption{workflow.WithQueue("images")}
		})
		first += 20
		kit.Until(t, "all runs end although a transaction is open: "+what, func() bool { return f.count(unfinishedRuns) == 0 })
		kit.Must(t, tx.Rollback())
	}
	pack.stop()
	f.checkChores(first)
}

// A rate that was slow is made faster: what waits for the next start at the old rate begins at the new one. And without a rate at once.
func TestRateIsRaised(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "calls", Rate: workflow.PerHour(1)})
	worker := f.service(f.db, nil)
	worker.Register(chore())
	kit.Work(t, worker)
	first := 0
	for _, faster := range []workflow.Rate{{Count: 100, Per: time.Second, Burst: 2}, {}} {
		kit.Must(t, svc.SetQueue(t.Context(), workflow.Queue{Name: "calls", Rate: workflow.PerHour(1)}))
		f.start(svc, first, first+5, func(n int) (task, []workflow.StartOption) {
			return task{N: n}, []workflow.StartOption{workflow.WithQueue("calls")}
		})
		kit.Until(t, "one run has begun", func() bool { return f.claims() == first+1 })
		kit.Must(t, svc.SetQueue(t.Context(), workflow.Queue{Name: "calls", Rate: faster}))
		first += 5
		kit.Until(t, "the others begin at the new rate", func() bool { return f.claims() == first })
	}
	f.untilAllEnd()
	f.checkChores(first)
}
