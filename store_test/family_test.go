package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// An ending is a way in which a child ends: how its row stands before, and who ends it.
type ending struct {
	name string
	from string // of standing
	end  func(ctx context.Context, st *store.Store, end *store.End) error
}

// standing is how a child's row stands before it ends: a SET list.
var standing = map[string]string{
	"pending":         `status = 'pending', owner = NULL, run_at = 1`,
	"owned":           `owner = 'somebody'`,
	"running by hand": `owner = NULL`,
	"suspended":       `status = 'suspended', owner = NULL, suspended_for = 'time', run_at = 9000000000000`,
}

// endings are all of them: what the engine writes, alone and among others, and what is done by hand, alone and in a transaction of
// the caller's.
func endings(b *bundle) []ending {
	write := func(status store.RunStatus, more ...store.Write) func(context.Context, *store.Store, *store.End) error {
		return func(ctx context.Context, st *store.Store, end *store.End) error {
			end.Status = status
			outcomes, err := st.Write(ctx, append([]store.Write{end}, more...))
			if err == nil && outcomes[0] != store.Written {
				err = fmt.Errorf("outcome %v", outcomes[0])
			}
			return err
		}
	}
	all := []ending{
		{"completed", "owned", write(store.RunCompleted)},
		{"failed, as by a deadline or a crash loop", "owned", write(store.RunFailed)},
	}
	for _, status := range []store.RunStatus{store.RunCompleted, store.RunFailed} {
		all = append(all, ending{string(status) + " among others", "owned", func(ctx context.Context, st *store.Store, end *store.End) error {
			start := store.NewRun{ID: "beside " + end.RunID, Workflow: "w", Input: json.RawMessage(`1`)}
			return write(status, start)(ctx, st, end)
		}})
	}
	hand := func(name string, from []string, do func(ctx context.Context, st *store.Store, id string) error) {
		for _, from := range from {
			all = append(all,
				ending{name + ", " + from, from, func(ctx context.Context, st *store.Store, end *store.End) error { return do(ctx, st, end.RunID) }},
				ending{name + ", " + from + ", in a transaction", from, func(ctx context.Context, st *store.Store, end *store.End) error {
					tx, err := b.db.BeginTx(ctx, nil)
					if err != nil {
						return err
					}
					defer func() { _ = tx.Rollback() }()
					if err := do(ctx, st.In(tx), end.RunID); err != nil {
						return err
					}
					return tx.Commit()
				}})
		}
	}
	free := []string{"pending", "running by hand", "suspended"}
	hand("cancelled", append(free, "owned"), func(ctx context.Context, st *store.Store, id string) error {
		_, err := st.CancelRun(ctx, id)
		return err
	})
	hand("deleted", free, func(ctx context.Context, st *store.Store, id string) error { return st.DeleteRun(ctx, id) })
	for _, to := range []store.RunStatus{store.RunCompleted, store.RunFailed, store.RunCancelled} {
		hand("moved to "+string(to), free, func(ctx context.Context, st *store.Store, id string) error {
			return st.UpdateRunStatus(ctx, id, to, nil, nil)
		})
	}
	return all
}

// However the last child ends, and however its parent waits, the parent goes on: what comes for it is counted once, and if it is
// parked on this it may be claimed at once.
func TestParentGoesOn(t *testing.T) {
	const (
		late   = `9000000000000`
		parked = `status = 'suspended', suspended_for = 'children', owner = NULL, epoch = 2, waits_for = `
	)
	waits := map[string]struct {
		set   string
		runAt string // NULL, 'now' or a time, once the child has ended
	}{
		"in place":               {`wake_seq = 3`, `NULL`},
		"parked on it":           {parked + `'{step:s}'`, `now`},
		"parked on several":      {parked + `'{signal:a,step:s,step:other}', run_at = 9000000000000`, `now`},
		"parked on another":      {parked + `'{step:other}', run_at = ` + late, late},
		"due already":            {parked + `'{step:s}', run_at = 5`, `5`},
		"released":               {`status = 'pending', owner = NULL, epoch = 2, run_at = 5`, `5`},
		"blocked":                {`status = 'suspended', suspended_for = 'blocked', owner = NULL, epoch = 2, run_at = ` + late, late},
		"suspended by hand":      {`status = 'suspended', suspended_for = 'by_hand', owner = NULL, epoch = 2, run_at = NULL`, `NULL`},
		"ended":                  {`status = 'failed', owner = NULL, epoch = 2`, `NULL`},
		"completed from outside": {`wake_seq = 3`, `NULL`},
	}
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, ending := range endings(b) {
			for how, wait := range waits {
				t.Run(ending.name+", parent "+how, func(t *testing.T) {
					parent := b.ownedRun(t)
					ends := b.started(t, st, parent, "s", 2)
					wantOutcomes(t, st, []store.Write{ends[0]}, store.Written)
					kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET `+wait.set+` WHERE id = $1`, parent)
					kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET `+standing[ending.from]+` WHERE id = $1`, ends[1].RunID)
					left, came := 0, 1
					switch how {
					case "completed from outside":
						kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'succeeded', result = '1' WHERE run_id = $1`, parent)
						left, came = 1, 0
					case "ended":
						came = 0
					}
					before := kit.One[int](t, b.side, `SELECT wake_seq FROM workflows.workflow_runs WHERE id = $1`, parent)

					kit.Must(t, ending.end(t.Context(), st, ends[1]))
					var waiting, wakeSeq, unfinished int
					var runAt string
					kit.Must(t, b.side.QueryRowContext(t.Context(), `
						SELECT step.waiting, run.wake_seq,
						       coalesce(CASE WHEN run.run_at > 1e12 AND run.run_at < 8e12 THEN 'now' ELSE run.run_at::text END, 'NULL'),
						       (SELECT count(*)
						        FROM workflows.workflow_runs
						        WHERE parent_id = run.id
						          AND (status IN ('pending', 'running', 'suspended') OR run_at IS NOT NULL OR owner IS NOT NULL))
						FROM workflows.workflow_runs AS run
						JOIN workflows.workflow_steps AS step ON step.run_id = run.id
						WHERE run.id = $1`, parent).Scan(&waiting, &wakeSeq, &runAt, &unfinished))
					if waiting != left || wakeSeq != before+came || runAt != wait.runAt || unfinished > 0 {
						t.Errorf("the step waits for %d, the parent's wake_seq is %d more, its run_at %s, children unfinished %d; want %d, %d, %s, 0",
							waiting, wakeSeq-before, runAt, unfinished, left, came, wait.runAt)
					}
				})
			}
		}
	})
}
