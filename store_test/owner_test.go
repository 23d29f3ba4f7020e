package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

const lease = time.Minute

// worker registers a worker that knows workflow "w".
func worker(t *testing.T, st *store.Store, id string) {
	t.Helper()
	kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{
		ID: id, Version: "v1", Host: "here", PID: 42, Workflows: []string{"w"},
	}, lease))
}

// dies ends a worker's lease.
func (b *bundle) dies(t *testing.T, id string) {
	t.Helper()
	kit.Exec(t, b.side, `UPDATE workflows.workflow_workers SET expires_at = 1 WHERE id = $1`, id)
}

// due makes all runs that wait claimable at once.
func (b *bundle) due(t *testing.T) {
	t.Helper()
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = least(run_at, updated_at - 1) WHERE run_at IS NOT NULL`)
}

// claim claims all that may run now, suspects too, and returns the only run.
func claim(t *testing.T, st *store.Store, worker string) store.ClaimedRun {
	t.Helper()
	claimed, err := st.Claim(t.Context(), store.ClaimRequest{Worker: worker, Marks: map[string]int64{"w": 0}, Limit: 10, Suspects: true})
	kit.Must(t, err)
	if len(claimed.Runs) != 1 {
		t.Fatalf("claimed %+v, want one run", claimed.Runs)
	}
	return claimed.Runs[0]
}

// A claimed run is its worker's, with what is known of it; a claim that finds nothing tells the time nevertheless.
func TestClaim(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		ask := func(request store.ClaimRequest) store.Claim {
			t.Helper()
			request.Worker, request.Limit = "me", max(request.Limit, 10)
			claimed, err := st.Claim(t.Context(), request)
			kit.Must(t, err)
			if claimed.Now < time.Now().Add(-time.Hour).UnixMilli() {
				t.Errorf("the time of a claim is %d", claimed.Now)
			}
			return claimed
		}
		all := map[string]int64{"w": 0, "other": 0}
		if got := ask(store.ClaimRequest{Marks: all}); len(got.Runs) > 0 {
			t.Errorf("claimed %v of nothing", got.Runs)
		}
		id := b.newRun(t)
		runAt := kit.One[int64](t, b.side, `SELECT run_at FROM workflows.workflow_runs`)
		for what, marks := range map[string]map[string]int64{"another workflow": {"other": 0}, "a later mark": {"w": runAt}, "no workflow": {}} {
			if got := ask(store.ClaimRequest{Marks: marks}); len(got.Runs) > 0 {
				t.Errorf("%s: claimed %v", what, got.Runs)
			}
		}
		if got, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "nobody", Marks: all, Limit: 1}); err != nil || len(got.Runs) > 0 {
			t.Errorf("a worker without a lease claimed %v, %v", got, err)
		}
		got := ask(store.ClaimRequest{Marks: map[string]int64{"w": runAt - 1}})
		want := []store.ClaimedRun{{
			Owned: store.Owned{RunID: id, Epoch: 1}, Workflow: "w", Input: json.RawMessage(`{"n": 1}`), RunAt: runAt,
			Waited: time.Duration(got.Now-runAt) * time.Millisecond,
		}}
		if diff := cmp.Diff(want, got.Runs); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		owned, err := st.OwnedRuns(t.Context(), "me")
		if err != nil || !slices.Equal(owned, []store.Owned{{RunID: id, Epoch: 1}}) {
			t.Errorf("owned: %v, %v", owned, err)
		}
		if n, err := st.ReleaseWorker(t.Context(), "me"); err != nil || n != 1 {
			t.Errorf("released %d, %v", n, err)
		}
		if run, err := b.svc.GetRun(t.Context(), id); err != nil || run.Status != workflow.RunPending || run.Owner != "" || run.RunAt.IsZero() {
			t.Errorf("released: %+v, %v", run, err)
		}
	})
}

// A heartbeat renews a lease that has not ended, and tells which of the runs are held in vain.
func TestHeartbeat(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		id := b.newRun(t)
		held := claim(t, st, "me").Owned
		lost := []store.Owned{{RunID: id, Epoch: 7}, {RunID: "unknown", Epoch: 1}}
		beat := store.Beat{
			ID: "me", Lease: lease, Workflows: []string{"w", "x"}, Held: append([]store.Owned{held}, lost...),
		}
		pulse, err := st.Heartbeat(t.Context(), beat)
		if want := (store.Pulse{Alive: true, Lost: lost, Workers: 1}); err != nil || !cmp.Equal(want, pulse) {
			t.Errorf("pulse %+v, %v, want %+v", pulse, err, want)
		}
		if said := kit.One[string](t, b.side, `SELECT workflows::text FROM workflows.workflow_workers`); said != "{w,x}" {
			t.Errorf("published workflows %s, want {w,x}", said)
		}
		worker(t, st, "neighbour")
		pulse, err = st.Heartbeat(t.Context(), store.Beat{ID: "me", Lease: lease})
		if err != nil || pulse.Workers != 2 || len(pulse.Lost) > 0 || pulse.NextExpiry <= 0 || pulse.NextExpiry > lease {
			t.Errorf("beside another: %+v, %v", pulse, err)
		}
		b.dies(t, "me")
		if pulse, err = st.Heartbeat(t.Context(), beat); err != nil || pulse.Alive {
			t.Errorf("after the lease: %+v, %v", pulse, err)
		}
	})
}

// Deaths without progress make a run a suspect, then only those inside a marked step count; after ten whoever claims it knows.
func TestTakeOver(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.newRun(t)
		death := func(mark bool) {
			t.Helper()
			name := fmt.Sprint("worker", kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_workers`))
			worker(t, st, name)
			b.due(t)
			run := claim(t, st, name)
			if mark {
				outcome, err := st.MarkStep(t.Context(), run.Owned, "s", "", 1)
				if err != nil || outcome != store.Written {
					t.Fatalf("mark: %v, %v", outcome, err)
				}
			}
			b.dies(t, name)
			if taken, err := st.TakeOver(t.Context(), ""); err != nil || len(taken.Pending) != 1 {
				t.Fatalf("took over %+v, %v", taken, err)
			}
		}
		wantTakeOvers := func(want int) {
			t.Helper()
			if got := kit.One[int](t, b.side, `SELECT take_overs FROM workflows.workflow_runs`); got != want {
				t.Errorf("%d take-overs, want %d", got, want)
			}
		}
		death(true)
		wantTakeOvers(1)
		death(false)
		wantTakeOvers(2)
		death(false) // it was not in user code, so it is not to blame
		wantTakeOvers(2)
		worker(t, st, "cautious")
		b.due(t)
		careful := store.ClaimRequest{Worker: "cautious", Marks: map[string]int64{"w": 0}, Limit: 10}
		if got, err := st.Claim(t.Context(), careful); err != nil || len(got.Runs) > 0 {
			t.Errorf("claimed a suspect: %v, %v", got.Runs, err)
		}
		for n := 3; n <= 9; n++ {
			death(true)
			wantTakeOvers(n)
		}
		b.due(t)
		if run := claim(t, st, "cautious"); run.CrashLoop() {
			t.Errorf("a crash loop after nine deaths: %+v", run)
		}
		b.dies(t, "cautious")
		_, err := st.TakeOver(t.Context(), "")
		kit.Must(t, err)
		worker(t, st, "last")
		b.due(t)
		if outcome, err := st.MarkStep(t.Context(), claim(t, st, "last").Owned, "s", "", 1); err != nil || outcome != store.Written {
			t.Fatalf("mark: %v, %v", outcome, err)
		}
		b.dies(t, "last")
		if taken, err := st.TakeOver(t.Context(), "last"); err != nil || len(taken.Pending) != 0 || taken.Doomed != nil {
			t.Fatalf("taken over by a worker that is dead: %+v, %v; want it to be left", taken, err)
		}
		worker(t, st, "heir")
		taken, err := st.TakeOver(t.Context(), "heir")
		if err != nil || len(taken.Pending) != 0 || len(taken.Doomed) != 1 || !taken.Doomed[0].CrashLoop() {
			t.Fatalf("taken over by a worker that lives: %+v, %v; want it to end the run", taken, err)
		}
		run := taken.Doomed[0]
		wantOutcomes(t, st, []store.Write{&store.End{Owned: run.Owned, Status: store.RunFailed, Err: &store.Error{Code: "crash_loop"}}}, store.Written)
		kit.Must(t, b.svc.Resume(t.Context(), id))
		death(false)
		wantTakeOvers(1)
	})
}

// A worker claims one suspect at a time, and others beside it.
func TestClaimOneSuspect(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		for range 4 {
			b.newRun(t)
		}
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET take_overs = 2 WHERE id > (SELECT min(id) FROM workflows.workflow_runs)`)
		got, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10, Suspects: true})
		kit.Must(t, err)
		suspects := 0
		for _, run := range got.Runs {
			if run.Suspect() {
				suspects++
			}
		}
		if suspects != 1 || len(got.Runs) != 2 {
			t.Errorf("claimed %d runs, %d of them suspects; want 2 and 1", len(got.Runs), suspects)
		}
	})
}

// A run that cannot go on is tried again after delays that double, until its time is over. Progress starts anew.
func TestBlockRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		id := b.newRun(t)
		why := &store.Error{Code: "mismatch", Message: "step x is new"}
		block := func(since time.Duration) (expired bool) {
			t.Helper()
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET blocked_at = updated_at - $1`, since.Milliseconds())
			b.due(t)
			expired, err := st.BlockRun(t.Context(), claim(t, st, "me").Owned, why, time.Hour)
			kit.Must(t, err)
			return expired
		}
		b.due(t)
		if expired, err := st.BlockRun(t.Context(), claim(t, st, "me").Owned, why, time.Hour); expired || err != nil {
			t.Fatalf("blocked: expired %t, %v", expired, err)
		}
		run, err := b.svc.GetRun(t.Context(), id)
		if err != nil || run.Status != workflow.RunSuspended || run.SuspendedFor != workflow.SuspendedBlocked || !errors.Is(run.Err, workflow.Code(why.Code)) ||
			!run.BlockedAt.Equal(run.UpdatedAt) {
			t.Errorf("blocked: %+v, %v", run, err)
		}
		delay := func() time.Duration { return run.RunAt.Sub(run.UpdatedAt) }
		if delay() != time.Second {
			t.Errorf("first delay %v, want 1 s", delay())
		}
		for since, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 30 * time.Minute: 10 * time.Minute, 59 * time.Minute: time.Minute} {
			if block(since) {
				t.Errorf("expired after %v", since)
			}
			run, err = b.svc.GetRun(t.Context(), id)
			kit.Must(t, err)
			if got := delay(); got < want-10*time.Second || got > want+10*time.Second {
				t.Errorf("after %v: delay %v, want about %v", since, got, want)
			}
		}
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at)
			SELECT id, 'new', 'succeeded', '1', blocked_at FROM workflows.workflow_runs`)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET updated_at = updated_at - 7200000`)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET updated_at = updated_at - 3600000`)
		if block(2 * time.Hour) {
			t.Error("expired in spite of progress")
		}
		kit.Exec(t, b.side, `DELETE FROM workflows.workflow_steps`)
		if !block(2 * time.Hour) {
			t.Error("not expired after two hours")
		}
		// Its owner has it still, to end it.
		run, err = b.svc.GetRun(t.Context(), id)
		if err != nil || run.Status != workflow.RunRunning || run.Owner != "me" {
			t.Errorf("expired: %+v, %v", run, err)
		}
	})
}

// What an owner does with its run itself does not wait for who has locked it, and tells that from a run that is lost.
func TestReleaseRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		run := store.Owned{RunID: b.ownedRun(t), Epoch: 1}
		release := b.holdRow(t, run.RunID)
		kit.WantIs(t, st.ReleaseRun(t.Context(), run, 0), workflow.ErrLockTimeout)
		release()
		kit.Must(t, st.ReleaseRun(t.Context(), run, time.Minute))
		released, err := b.svc.GetRun(t.Context(), run.RunID)
		if err != nil || released.Status != workflow.RunPending || released.RunAt.Sub(released.UpdatedAt) != time.Minute {
			t.Errorf("released: %+v, %v", released, err)
		}
		kit.WantIs(t, st.ReleaseRun(t.Context(), run, 0), store.ErrRunLost)
		_, err = st.BlockRun(t.Context(), run, &store.Error{}, time.Minute)
		kit.WantIs(t, err, store.ErrRunLost)
	})
}

// Whereabouts tells what a run waits for.
func TestWhereabouts(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		_, err := st.Whereabouts(t.Context(), "unknown")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		id := b.newRun(t)
		got, err := st.Whereabouts(t.Context(), id)
		if err != nil || got.Status != workflow.RunPending || got.Workers != 0 || got.Serving != 0 || !got.MayBeClaimed() {
			t.Errorf("pending: %+v, %v", got, err)
		}
		kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{ID: "other", Workflows: []string{"v"}}, lease))
		worker(t, st, "me")
		claim(t, st, "me")
		got, err = st.Whereabouts(t.Context(), id)
		want := store.Whereabouts{
			ID: id, Now: got.Now, Status: workflow.RunRunning, Workflow: "w", Workers: 2, Serving: 1,
			Owner: store.Owner{ID: "me", Host: "here", PID: 42, Version: "v1", LeaseUntil: got.Owner.LeaseUntil},
		}
		if err != nil || !cmp.Equal(want, got) || !got.Owner.LeaseUntil.After(got.Now) {
			t.Errorf("owned: %+v, %v, want %+v", got, err, want)
		}
	})
}

// A transactional step commits with what its function wrote, or not at all.
func TestCheckpointTx(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short, Lease: lease})
		kit.Exec(t, b.side, `CREATE TABLE effects (n int)`)
		run := store.Owned{RunID: b.ownedRun(t), Epoch: 1}
		insert := func(ctx context.Context, tx *sql.Tx) (json.RawMessage, error) {
			_, err := tx.ExecContext(ctx, `INSERT INTO effects VALUES (1)`)
			return json.RawMessage("1"), err
		}
		call := func(run store.Owned, name string) (store.Step, error) {
			return st.CheckpointTx(t.Context(), &store.Checkpoint{Owned: run, Name: name, Kind: store.TxStep, Seq: 1}, sql.LevelReadCommitted, insert)
		}
		wantEffects := func(want int) {
			t.Helper()
			if got := kit.One[int](t, b.side, `SELECT count(*) FROM effects`); got != want {
				t.Errorf("%d effects, want %d", got, want)
			}
		}
		for range 2 { // the second one is refused
			step, err := call(run, "s")
			if err != nil || step.Status != store.StepSucceeded || string(step.Result) != "1" {
				t.Errorf("step %+v, %v", step, err)
			}
			wantEffects(1)
		}
		release := b.holdRow(t, run.RunID)
		_, err := call(run, "t")
		kit.WantIs(t, err, workflow.ErrLockTimeout)
		release()
		_, err = call(store.Owned{RunID: run.RunID, Epoch: 2}, "t")
		kit.WantIs(t, err, store.ErrRunLost)
		wantEffects(1)
	})
}

// A step's function that spoils its transaction is told so.
func TestCheckpointTxMisused(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		run := store.Owned{RunID: b.ownedRun(t), Epoch: 1}
		for what, f := range map[string]func(*sql.Tx) error{
			"commits":              (*sql.Tx).Commit,
			"rolls back":           (*sql.Tx).Rollback,
			"swallows a SQL error": func(tx *sql.Tx) error { _, _ = tx.ExecContext(t.Context(), "SELECT 1/0"); return nil },
		} {
			_, err := st.CheckpointTx(t.Context(), &store.Checkpoint{Owned: run, Name: "s"}, sql.LevelReadCommitted,
				func(_ context.Context, tx *sql.Tx) (json.RawMessage, error) { return json.RawMessage("1"), f(tx) })
			if !errors.Is(err, store.ErrTxMisused) {
				t.Errorf("%s: %v, want ErrTxMisused", what, err)
			}
		}
	})
}
