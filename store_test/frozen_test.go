package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// witness has every statement that writes a table of ours leave a note of who it is and of how long its session may be idle in
// its transaction.
const witness = `
	CREATE TABLE seen (text TEXT, bound TEXT);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	    INSERT INTO seen VALUES (current_query(), current_setting('idle_in_transaction_session_timeout'));
	    RETURN NULL;
	END $$;
	CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON workflows.workflow_runs FOR EACH ROW EXECUTE FUNCTION see();
	CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON workflows.workflow_steps FOR EACH ROW EXECUTE FUNCTION see();
	CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON workflows.workflow_workers FOR EACH ROW EXECUTE FUNCTION see()`

// seen returns the bounds that were noted, by statement, and forgets them.
func (b *bundle) seen(t *testing.T) map[string]string {
	t.Helper()
	rows, err := b.side.QueryContext(t.Context(), `DELETE FROM seen RETURNING text, bound`)
	kit.Must(t, err)
	defer rows.Close()
	all := make(map[string]string)
	for rows.Next() {
		var text, bound string
		kit.Must(t, rows.Scan(&text, &bound))
		all[pg.NameOf(text)] = bound
	}
	kit.Must(t, rows.Err())
	return all
}

// everyWrite has the store send each statement that writes, once.
func everyWrite(t *testing.T, st *store.Store) {
	t.Helper()
	ctx, one := t.Context(), json.RawMessage("1")
	worker(t, st, "me")
	_, err := st.Heartbeat(ctx, store.Beat{ID: "me", Lease: lease})
	kit.Must(t, err)
	for _, id := range []string{"block", "release", "cancel", "move", "delete", "handed back"} {
		_, err := st.CreateRun(ctx, store.NewRun{ID: id, Workflow: "w", Input: one})
		kit.Must(t, err)
	}
	write := func(rows ...store.Write) {
		t.Helper()
		_, err := st.Write(ctx, rows)
		kit.Must(t, err)
	}
	kit.Must(t, st.SetStep(ctx, store.NewStep{RunID: "move", Name: "s", Status: store.StepScheduled}))
	kit.Must(t, st.UpdateRunStatus(ctx, "move", store.RunRunning, nil, nil))
	kit.Must(t, st.DeleteRun(ctx, "delete"))
	_, err = st.CancelRun(ctx, "cancel")
	kit.Must(t, err)
	kit.Must(t, st.ResumeRun(ctx, "cancel"))
	_, err = st.Claim(ctx, store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
	kit.Must(t, err)
	run := func(id string) store.Owned { return store.Owned{RunID: id, Epoch: 1} }
	kit.Must(t, st.ReleaseRun(ctx, run("release"), 0))
	_, err = st.BlockRun(ctx, run("block"), &store.Error{}, time.Hour)
	kit.Must(t, err)
	write(store.NewRun{ID: "parked", Workflow: "w", Input: one, Owner: "me"})
	write(store.NewRun{ID: "ended", Workflow: "w", Input: one, Owner: "me"}, store.NewRun{ID: "orphan", Workflow: "w", Input: one, Owner: "me"})
	write(&store.Checkpoint{Owned: run("parked"), Name: "a", Result: one})
	write(&store.Failure{Owned: run("parked"), Name: "b", Err: &store.Error{}})
	_, err = st.MarkStep(ctx, run("parked"), "c", "", 1)
	kit.Must(t, err)
	write(&store.Park{Owned: run("parked"), For: store.ForTime})
	write(&store.End{Owned: run("ended"), Status: store.RunCompleted})
	_, err = st.CheckpointTx(ctx, &store.Checkpoint{Owned: run("orphan"), Name: "t"}, sql.LevelDefault,
		func(context.Context, *sql.Tx) (json.RawMessage, error) { return one, nil })
	kit.Must(t, err)
	everyWriteOfChildren(t, st)
	_, err = st.ReleaseWorker(ctx, "me")
	kit.Must(t, err)
}

func everyWriteOfChildren(t *testing.T, st *store.Store) {
	t.Helper()
	ctx := t.Context()
	write := func(row store.Write) { wantOutcomes(t, st, []store.Write{row}, store.Written) }
	parent := store.Owned{RunID: "parent", Epoch: 1}
	write(store.NewRun{ID: parent.RunID, Workflow: "w", Input: json.RawMessage("1"), Owner: "me"})
	write(&store.Schedule{Owned: parent, Name: "wait", Kind: store.SignalStep})
	write(fanOut(parent.RunID, "call", 2))
	claimed, err := st.Claim(ctx, store.ClaimRequest{Worker: "me", Marks: map[string]int64{"child": 0}, Limit: 1})
	kit.Must(t, err)
	child := claimed.Runs[0]
	write(&store.End{Owned: child.Owned, Status: store.RunCompleted, ParentID: child.ParentID, ParentStep: child.ParentStep})
	write(&store.End{Owned: parent, Status: store.RunFailed})
	found, err := st.FindStranded(ctx, store.ChildKey{})
	kit.Must(t, err)
	if len(found.Cancelled) != 1 {
		t.Errorf("a sweep found %+v, want the other child of an ended parent", found)
	}
}

// forget has the store take over the runs of a worker that died, and forget it.
func (b *bundle) forget(t *testing.T, st *store.Store) {
	t.Helper()
	worker(t, st, "gone")
	_, err := st.Write(t.Context(), []store.Write{store.NewRun{ID: "left behind", Workflow: "w", Input: json.RawMessage("1"), Owner: "gone"}})
	kit.Must(t, err)
	b.dies(t, "gone")
	_, err = st.TakeOver(t.Context(), "")
	kit.Must(t, err)
	kit.Must(t, st.ForgetWorkers(t.Context()))
}

// Every transaction of ours bounds how long its session may be silent: by the lease, or by a lower bound of the session's own.
// Statements that stand alone have none to bound, and a caller's transactions are the caller's.
func TestIdleTransactionsAreBounded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, own, want string
		statements      store.Statements
	}{
		{"a transaction each", "0", "1min", store.InTx},
		{"a transaction each, a lower bound", "7s", "7s", store.InTx},
		{"a transaction each, a higher bound", "2h", "1min", store.InTx},
		{"single statements", "2h", "2h", store.Single},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, pgtest.PGX)
			kit.Exec(t, b.side, witness)
			kit.Exec(t, b.side, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''`+test.own+`''', current_database()); END $$`)
			b.db = b.Open(t, b.access)
			st := store.New(b.db, store.Options{Schema: "workflows", Statements: test.statements, Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: lease})
			everyWrite(t, st)
			b.forget(t, st)
			seen := b.seen(t)
			delete(seen, "") // of dies
			for name, got := range seen {
				want := test.want
				switch {
				case name == "checkpoint_step" && test.statements == store.Single:
					want = got // the newest is of CheckpointTx, or not: see below
				case name == "resume_run" && test.statements == store.Single:
					want = "1min" // always in a transaction of ours
				}
				if got != want {
					t.Errorf("%s was sent in a transaction that may be idle for %s, want %s", name, got, want)
				}
			}
			if len(seen) < 26 {
				t.Errorf("only %d statements were seen: %v", len(seen), seen)
			}

			id := b.ownedRun(t)
			b.seen(t)
			_, err := st.CheckpointTx(t.Context(), &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "t"}, sql.LevelDefault,
				func(_ context.Context, tx *sql.Tx) (json.RawMessage, error) {
					if got := kit.One[string](t, tx, `SHOW idle_in_transaction_session_timeout`); got != test.own {
						t.Errorf("in a step's function the bound is %s, want the session's own %s", got, test.own)
					}
					return json.RawMessage("1"), nil
				})
			kit.Must(t, err)
			want := test.want
			if test.statements == store.Single {
				want = "1min"
			}
			if got := b.seen(t)["checkpoint_step"]; got != want {
				t.Errorf("before a step's commit the bound is %s, want %s", got, want)
			}
			id = b.newRun(t)
			kit.Must(t, st.WithRunLock(t.Context(), id, func(ctx context.Context, st *store.Store) error {
				return st.UpdateRunStatus(ctx, id, store.RunRunning, nil, nil)
			}))
			if got := b.seen(t)["update_run_status"]; got != test.own {
				t.Errorf("in a caller's section the bound is %s, want the session's own %s", got, test.own)
			}
		})
	}
}

// A process that is frozen or cut off between a statement and its COMMIT loses the locks when its lease has ended.
func TestFrozenBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context, st *store.Store, run store.Owned) error{
		"a lone statement": func(ctx context.Context, st *store.Store, run store.Owned) error {
			_, err := st.Write(ctx, []store.Write{&store.Park{Owned: run, For: store.ForTime}})
			return err
		},
		"a transactional step": func(ctx context.Context, st *store.Store, run store.Owned) error {
			_, err := st.CheckpointTx(ctx, &store.Checkpoint{Owned: run, Name: "s"}, sql.LevelReadCommitted,
				func(context.Context, *sql.Tx) (json.RawMessage, error) { return json.RawMessage("1"), nil })
			return err
		},
	} {
		for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
			t.Run(name+", "+access.Name, func(t *testing.T) {
				t.Parallel()
				database := pgtest.New(t)
				b := on(t, database, access)
				network, url := kit.NewProxy(t, database.AccessURL(t, access))
				db, err := sql.Open(access.Driver, url)
				kit.Must(t, err)
				t.Cleanup(func() { db.Close() })
				id := b.ownedRun(t)
				st := store.New(db, store.Options{
					Schema: "workflows", Statements: store.InTx, Timeout: 24 * short, LockTimeout: kit.Patience, Lease: 12 * short,
				})
				kit.Must(t, st.Ping(t.Context()))
				network.SilenceAt("COMMIT\x00")
				ctx, cancel := context.WithCancel(t.Context())
				answer := kit.Go(t, func() error { return write(ctx, st, store.Owned{RunID: id, Epoch: 1}) })
				free := func() bool {
					return kit.One[int](t, b.side, `SELECT count(*) FROM (SELECT FROM workflows.workflow_runs
						WHERE id = '`+id+`' FOR UPDATE SKIP LOCKED) AS free`) == 1
				}
				kit.Until(t, "lock", func() bool { return !free() })
				kit.Until(t, "end of the lock", free)
				cancel()
				if err := kit.Receive(t, "answer", answer); err == nil {
					t.Error("no error from a commit that never came")
				}
				run, err := b.svc.GetRun(t.Context(), id)
				if err != nil || run.Status != workflow.RunRunning || b.hasStep(t, id) {
					t.Errorf("written: %+v, %v", run, err)
				}
			})
		}
	}
}
