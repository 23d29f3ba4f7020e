package store_test

import (
	"slices"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A claim that comes between what another one has counted and that one's turn is noticed: what was counted is not true any more. The
// other claim is held up there by a policy on the row of the turn.
func TestQueueClaimBetween(t *testing.T) {
	direct := slices.DeleteFunc(slices.Clone(pgtest.Accesses), func(a pgtest.Access) bool { return a.Pooled }) // a pooler has no roles here
	by(t, direct, func(t *testing.T, access pgtest.Access) {
		for _, limits := range []store.Queue{
			{MaxRunning: 1}, {MaxPerPartition: 1}, {RateCount: 1, RateWindow: 3600e9},
		} {
			q := onQueue(t, access, limits)
			ids := q.add(5, store.Place{Priority: store.UsualPriority})
			worker(t, q.st, "other")
			kit.Exec(t, q.side, `
				CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN true; END'`)
			role := q.Role(t,
				`GRANT USAGE ON SCHEMA workflows TO {role}`,
				`GRANT ALL ON ALL TABLES IN SCHEMA workflows TO {role}`,
				`ALTER TABLE workflows.workflow_queue_turns ENABLE ROW LEVEL SECURITY`,
				`CREATE POLICY gate ON workflows.workflow_queue_turns TO {role} USING (gate())`)
			held := store.New(role.Open(t, access), store.Options{Schema: "workflows", Timeout: kit.Patience})
			ofQueue := func(single bool) (int, bool, error) {
				request := q.request(10)
				request.Worker, request.Single = "other", single
				got, err := held.ClaimQueue(t.Context(), request)
				return len(got.Runs), got.Missed, err
			}
			for _, claim := range []func() (claimed int, missed bool, err error){
				func() (int, bool, error) { return ofQueue(true) },
				func() (int, bool, error) { return ofQueue(false) },
				func() (int, bool, error) {
					_, answer, err := held.ClaimRun(t.Context(), oneRun("other", ids[4]))
					claimed := 0
					if answer == store.RunClaimed {
						claimed = 1
					}
					return claimed, answer == store.RunMissed, err
				},
			} {
				kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET status = 'cancelled', owner = NULL WHERE status = 'running'`)
				kit.Exec(t, q.side, `UPDATE workflows.workflow_queue_turns SET free_at = 0`)
				gate := kit.Begin(t, q.side)
				kit.Exec(t, gate, `SELECT pg_advisory_xact_lock(77)`)
				type answer struct {
					claimed int
					missed  bool
					err     error
				}
				late := kit.Go(t, func() answer {
					claimed, missed, err := claim()
					return answer{claimed, missed, err}
				})
				kit.Until(t, "the other claim has counted", func() bool { return q.waiting(t) == 1 })
				q.wants(10, 1)
				kit.Must(t, gate.Rollback())
				if got := kit.Receive(t, "the other claim", late); got.err != nil || got.claimed > 0 || !got.missed {
					t.Errorf("%+v: the claim that had counted before: %+v, want it to be missed", limits, got)
				}
			}
		}
	})
}
