package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A step of the engine's that has succeeded without a result, such as a sleep, is finished like any other.
func TestSetStepResultOfASleep(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, updated_at, wake_at)
			VALUES ($1, 'nap', 'succeeded', 'sleep', 1, 2)`, id)
		set := map[string]func(workflow.State) error{
			"a result": func(s workflow.State) error { return s.SetStepResult(t.Context(), id, "nap", 1) },
			"no value": func(s workflow.State) error { return s.SetStepResult(t.Context(), id, "nap", nil) },
			"an error": func(s workflow.State) error { return s.SetStepError(t.Context(), id, "nap", errors.New("x")) },
		}
		for what, set := range set {
			if err := set(b.svc.State); !errors.Is(err, workflow.ErrStepFinished) {
				t.Errorf("%s: %v, want ErrStepFinished", what, err)
			}
			tx := kit.Begin(t, b.db)
			if err := set(b.svc.In(tx)); !errors.Is(err, workflow.ErrStepFinished) {
				t.Errorf("%s, in a transaction: %v, want ErrStepFinished", what, err)
			}
			kit.Must(t, tx.Commit())
		}
	})
}

// Rows of workers that died long ago go without a take-over, in bounded statements; those that own runs stay.
func TestForgetWorkers(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "alive")
	id := b.ownedRun(t)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET owner = 'dead7' WHERE id = $1`, id)
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_workers (id, expires_at) SELECT 'dead' || n, n FROM generate_series(1, 2500) AS n`)
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_workers (id, expires_at)
		VALUES ('just dead', floor(extract(epoch FROM now()) * 1000)::bigint - 1000)`)
	counter.Take()
	kit.Must(t, st.ForgetWorkers(t.Context()))
	if n := counter.Take().Statements; n != 3 {
		t.Errorf("%d statements for 2,500 rows, want 3", n)
	}
	left := kit.One[string](t, b.side, `SELECT string_agg(id, ', ' ORDER BY id) FROM workflows.workflow_workers`)
	if want := "alive, dead7, just dead"; left != want {
		t.Errorf("left: %s, want %s", left, want)
	}
}

// No statement of the engine's waits for a stranger's lock: what is locked stays as it is, and the rest is done.
func TestEngineWaitsForNobody(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: short, LockTimeout: short, Lease: lease})
		patient := writer(t, b)
		worker(t, patient, "me")
		worker(t, patient, "dead")
		locked, free := b.newRun(t), b.newRun(t)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = run_at - 1`)
		creating := kit.Begin(t, b.db)
		_, err := b.svc.In(creating).CreateRunWithID(t.Context(), "chosen", "w", 1)
		kit.Must(t, err)
		release := b.holdRow(t, locked)

		start := store.NewRun{ID: "chosen", Workflow: "w", Input: json.RawMessage("1"), Gate: st.Gate("chosen")}
		other := store.NewRun{ID: "other", Workflow: "w", Input: json.RawMessage("1"), Delay: time.Hour, Gate: st.Gate("other")}
		got, err := patient.Write(t.Context(), []store.Write{start})
		if err != nil || got[0] != store.Locked {
			t.Errorf("a start beside a stranger's: %v, %v", got, err)
		}
		if got, err = patient.Write(t.Context(), []store.Write{other}); err != nil || got[0] != store.Written {
			t.Errorf("another start: %v, %v", got, err)
		}
		kit.Must(t, creating.Commit())
		if got, err = patient.Write(t.Context(), []store.Write{start}); err != nil || got[0] != store.Exists {
			t.Errorf("a start behind a stranger's: %v, %v", got, err)
		}

		request := store.ClaimRequest{Worker: "dead", Marks: map[string]int64{"w": 0}, Limit: 10}
		claimed, err := patient.Claim(t.Context(), request)
		if err != nil || len(claimed.Runs) != 2 { // free and chosen
			t.Errorf("claimed %v, %v", claimed.Runs, err)
		}
		release()
		if claimed, err = patient.Claim(t.Context(), request); err != nil || len(claimed.Runs) != 1 {
			t.Errorf("claimed %v, %v", claimed.Runs, err)
		}
		b.holdRow(t, locked)
		b.dies(t, "dead")
		if taken, err := patient.TakeOver(t.Context(), ""); err != nil || len(taken.Pending) != 2 {
			t.Errorf("took over %+v, %v; want the two that are not locked", taken, err)
		}
		if run, err := b.svc.GetRun(t.Context(), free); err != nil || run.Owner != "" {
			t.Errorf("free: %+v, %v", run, err)
		}
		if n, err := patient.ReleaseWorker(t.Context(), "dead"); err != nil || n != 0 {
			t.Errorf("released %d, %v; want none", n, err)
		}
	})
}

// A statement_timeout of the server's that is shorter than Config.LockTimeout does not break the promise that waiting for a
// locked run leaves a transaction usable.
func TestServersBoundBelowLockTimeout(t *testing.T) {
	for name, setting := range map[string]string{"statement_timeout": "300", "lock_timeout": "200"} {
		t.Run(name, func(t *testing.T) {
			eachThatCancels(t, func(t *testing.T, access pgtest.Access) {
				database := pgtest.New(t)
				kit.Exec(t, database.Open(t, pgtest.PQ), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET `+name+` = `+setting+`', current_database()); END $$`)
				b := on(t, database, access, lockTimeout(time.Second))
				id, free := b.ownedRun(t), b.newRun(t)
				b.holdRow(t, id)
				tx := kit.Begin(t, b.db)
				kit.Exec(t, tx, `CREATE TABLE mine (n int)`)
				err := inTime(t, time.Second, func() error { return b.svc.In(tx).Cancel(t.Context(), id) })
				kit.WantIs(t, err, workflow.ErrLockTimeout)
				kit.Must(t, b.svc.In(tx).SetStepResult(t.Context(), free, "s", 1))
				kit.Must(t, tx.Commit())
				st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: time.Second, Lease: lease})
				_, err = st.CheckpointTx(t.Context(), &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "s"}, sql.LevelReadCommitted,
					func(context.Context, *sql.Tx) (json.RawMessage, error) { return json.RawMessage("1"), nil })
				kit.WantIs(t, err, workflow.ErrLockTimeout)
			})
		})
	}
}

// An error whose words the database's encoding lacks is refused for good, and its reduced form is recorded.
func TestErrorThatTheEncodingLacks(t *testing.T) {
	t.Parallel()
	b := latin(t, pgtest.PQ) // pgx leaves the encoding to the server, which takes any bytes then
	st := writer(t, b)
	run := store.Owned{RunID: b.ownedRun(t), Epoch: 1}
	failure := &store.Failure{
		Owned: run, Name: "s", Count: 1,
		Err: store.NewError(&store.Error{Message: "日本語 failed", Code: "c", Stack: "日本語", Step: "s"}),
	}
	_, err := st.Write(t.Context(), []store.Write{failure})
	if !store.IsPermanent(err) {
		t.Errorf("%v, want an error that would come again", err)
	}
	failure.Err = failure.Err.Reduced()
	outcomes, err := st.Write(t.Context(), []store.Write{failure})
	if err != nil || outcomes[0] != store.Written {
		t.Fatalf("reduced: %v, %v", outcomes, err)
	}
	step, err := st.GetStepState(t.Context(), run.RunID, "s")
	if err != nil || step.Err == nil || !strings.Contains(step.Err.Error(), "failed") || !errors.Is(step.Err, &store.Error{Code: "c"}) {
		t.Errorf("recorded %+v, %v", step, err)
	}
}

// latin returns a bundle on a migrated database with an encoding of one byte a character.
func latin(t *testing.T, access pgtest.Access) *bundle {
	t.Helper()
	database := pgtest.Empty(t)
	side := database.Open(t, pgtest.PQ)
	name := kit.One[string](t, side, `SELECT current_database()`) + "_latin"
	kit.Exec(t, side, `CREATE DATABASE "`+name+`" TEMPLATE template0 ENCODING 'WIN1252' LOCALE 'C'`)
	db, err := sql.Open(access.Driver, strings.Replace(database.AccessURL(t, access), strings.TrimSuffix(name, "_latin"), name, 1))
	kit.Must(t, err)
	t.Cleanup(func() {
		kit.Must(t, db.Close())
		kit.Exec(t, background{side}, `DROP DATABASE "`+name+`" WITH (FORCE)`)
	})
	b := &bundle{access: access, db: db, side: db}
	b.svc = b.service(t, db)
	kit.Must(t, b.svc.Init(t.Context()))
	return b
}

// background executes although the test's context has ended.
type background struct{ db *sql.DB }

func (b background) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	return b.db.ExecContext(context.Background(), query, args...)
}

// Every field of an error can be stored, whatever is in it, and is cut to what is kept.
func TestErrorIsStorable(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		bad := "a\x00b\xff" + strings.Repeat("é", 100_000)
		e := store.NewError(&store.Error{Message: bad, Code: bad, Stack: bad, Step: bad})
		for name, part := range map[string]string{"message": e.Message, "code": e.Code, "stack": e.Stack, "step": e.Step} {
			if !strings.HasPrefix(part, "a\uFFFDb\uFFFD") || len(part) > 33<<10 {
				t.Errorf("%s: %d bytes, %.10q", name, len(part), part)
			}
		}
		run := store.Owned{RunID: b.ownedRun(t), Epoch: 1}
		for _, row := range []store.Write{
			&store.Failure{Owned: run, Name: "s", Err: e}, &store.End{Owned: run, Status: store.RunFailed, Err: e},
		} {
			if outcomes, err := st.Write(t.Context(), []store.Write{row}); err != nil || outcomes[0] != store.Written {
				t.Errorf("%T: %v, %v", row, outcomes, err)
			}
		}
	})
}

// A list asks for any of several statuses, also with a driver that writes arguments into the text.
func TestListByStatuses(t *testing.T) {
	t.Parallel()
	simple := pgtest.Access{Name: "pgx, simple protocol", Driver: "pgx", Params: map[string]string{"default_query_exec_mode": "simple_protocol"}}
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX, simple} {
		b := setup(t, access)
		for _, status := range []workflow.RunStatus{workflow.RunPending, workflow.RunSuspended, workflow.RunFailed, workflow.RunCancelled} {
			b.runIn(t, status)
		}
		for _, statuses := range [][]workflow.RunStatus{
			nil, {workflow.RunFailed}, {workflow.RunCancelled, workflow.RunSuspended}, {workflow.RunCompleted},
		} {
			want := len(statuses)
			switch {
			case statuses == nil:
				want = 4
			case statuses[0] == workflow.RunCompleted:
				want = 0
			}
			page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{Statuses: statuses})
			if err != nil || len(page.Runs) != want {
				t.Errorf("%s, %v: %d runs, %v; want %d", access.Name, statuses, len(page.Runs), err, want)
			}
		}
	}
}
