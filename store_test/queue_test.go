package store_test

import (
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

var limited = store.Queue{
	Name: "images", MaxRunning: 20, MaxPerWorker: 5, MaxPerPartition: 2, RateCount: 10, RateWindow: time.Minute, RateBurst: 3,
}

// A queue is kept as it was set last, and a program that only ensures it undoes nothing.
func TestQueueIsKept(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		want := func(of store.Queue, paused bool) {
			t.Helper()
			got, err := st.GetQueue(t.Context(), of.Name)
			kit.Must(t, err)
			if diff := cmp.Diff(of, got.Queue); diff != "" || got.PausedAt.IsZero() == paused || got.CreatedAt.IsZero() || got.UpdatedAt.Before(got.CreatedAt) {
				t.Errorf("paused %v, %+v (-want +got):\n%s", got.PausedAt, got, diff)
			}
		}
		kit.Must(t, st.SetQueue(t.Context(), limited))
		want(limited, false)
		kit.Must(t, st.EnsureQueue(t.Context(), store.Queue{Name: "images"}))
		want(limited, false)
		for range 2 {
			kit.Must(t, st.PauseQueue(t.Context(), "images"))
			want(limited, true)
		}
		kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "images", MaxRunning: 1}))
		want(store.Queue{Name: "images", MaxRunning: 1}, true)
		for range 2 {
			kit.Must(t, st.ResumeQueue(t.Context(), "images"))
			want(store.Queue{Name: "images", MaxRunning: 1}, false)
		}
		kit.Must(t, st.EnsureQueue(t.Context(), store.Queue{Name: "a", RateCount: 1, RateWindow: time.Second}))
		want(store.Queue{Name: "a", RateCount: 1, RateWindow: time.Second, RateBurst: 1}, false)
		all, err := st.ListQueues(t.Context())
		kit.Must(t, err)
		if len(all) != 2 || all[0].Name != "a" || all[1].Name != "images" {
			t.Errorf("queues: %+v", all)
		}
		for name, want := range map[string]bool{"a": true, "b": false} {
			if there, err := st.HasQueue(t.Context(), name); err != nil || there != want {
				t.Errorf("queue %q is there: %t, %v", name, there, err)
			}
		}
		kit.WantIs(t, st.PauseQueue(t.Context(), "b"), store.ErrQueueNotFound)
		kit.WantIs(t, st.ResumeQueue(t.Context(), "b"), store.ErrQueueNotFound)
		_, err = st.GetQueue(t.Context(), "b")
		kit.WantIs(t, err, store.ErrQueueNotFound)
	})
}

// What is changed in a transaction holds with its commit. Another one that changes the same waits no longer than the bound, and
// goes on then; who only ensures does not wait at all.
func TestQueueInTransaction(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short})
		kit.Must(t, st.SetQueue(t.Context(), limited))
		open, other := kit.Begin(t, b.db), kit.Begin(t, b.db)
		kit.Must(t, st.In(open).SetQueue(t.Context(), store.Queue{Name: "images"}))
		kit.Must(t, st.In(open).SetQueue(t.Context(), store.Queue{Name: "new"}))
		for what, err := range map[string]error{
			"set":        st.In(other).SetQueue(t.Context(), limited),
			"pause":      st.In(other).PauseQueue(t.Context(), "images"),
			"resume":     st.In(other).ResumeQueue(t.Context(), "images"),
			"set new":    st.In(other).SetQueue(t.Context(), store.Queue{Name: "new"}),
			"ensure new": st.In(other).EnsureQueue(t.Context(), store.Queue{Name: "new"}),
		} {
			t.Log(what)
			kit.WantIs(t, err, store.ErrLockTimeout)
		}
		kit.Must(t, st.In(other).EnsureQueue(t.Context(), limited))
		got, err := st.In(other).GetQueue(t.Context(), "images")
		if err != nil || got.MaxRunning != limited.MaxRunning {
			t.Errorf("before the commit: %+v, %v", got, err)
		}
		kit.Must(t, open.Commit())
		kit.Must(t, st.In(other).PauseQueue(t.Context(), "new"))
		kit.Must(t, other.Commit())
		got, err = st.GetQueue(t.Context(), "images")
		if err != nil || got.Queue != (store.Queue{Name: "images"}) {
			t.Errorf("after the commit: %+v, %v", got, err)
		}
		if got, err = st.GetQueue(t.Context(), "new"); err != nil || got.PausedAt.IsZero() {
			t.Errorf("the new one: %+v, %v", got, err)
		}
	})
}

// Where a run waits stands in its row, however it was started; claims of runs without a queue leave it alone, and so does the lag of
// these. Whoever gives it back gives it back there.
func TestPlaceOfARun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		place := store.Place{Queue: "q", Priority: store.HighestPriority, Partition: "anna"}
		one := json.RawMessage("1")
		starts := map[string]func(id string) error{
			"alone": func(id string) error {
				_, err := q.st.Write(t.Context(), []store.Write{store.NewRun{ID: id, Workflow: "w", Input: one, Place: place}})
				return err
			},
			"with others": func(id string) error {
				_, err := q.st.Write(t.Context(), []store.Write{
					store.NewRun{ID: id + "0", Workflow: "else", Input: one}, store.NewRun{ID: id, Workflow: "w", Input: one, Place: place}})
				return err
			},
			"created": func(id string) error {
				run, err := q.st.CreateRun(t.Context(), store.NewRun{ID: id, Workflow: "w", Input: one, Place: place})
				if run.Place != place {
					t.Errorf("created %+v", run)
				}
				return err
			},
			"created in a transaction": func(id string) error {
				tx := kit.Begin(t, q.db)
				_, err := q.st.In(tx).CreateRun(t.Context(), store.NewRun{ID: id, Workflow: "w", Input: one, Place: place})
				kit.Must(t, tx.Commit())
				return err
			},
			"child": func(id string) error {
				row := fanOut(q.ownedRun(t), "s", 1)
				row.Children.IDs, row.Children.Workflow, row.Children.Place = []string{id}, "w", place
				_, err := q.st.Write(t.Context(), []store.Write{row})
				return err
			},
		}
		for id, start := range starts {
			kit.Must(t, start(id))
			run, err := q.st.GetRun(t.Context(), id)
			if err != nil || run.Place != place || run.Status != store.RunPending || run.RunAt.IsZero() {
				t.Errorf("%s: %+v, %v", id, run, err)
			}
			claimed, err := q.st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
			if err != nil || len(claimed.Runs) > 0 {
				t.Errorf("%s: claimed as a run without a queue: %+v, %v", id, claimed, err)
			}
			kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET run_at = 1 WHERE id = $1`, id)
			stats, err := q.st.GetStats(t.Context())
			if err != nil || stats.Lag > time.Hour {
				t.Errorf("%s: stats %+v, %v", id, stats, err)
			}
			state, err := q.st.GetQueue(t.Context(), "q")
			if err != nil || state.Waiting != 1 || state.Lag < time.Hour {
				t.Errorf("%s: queue %+v, %v", id, state, err)
			}
			q.comesBack(id, place)
			page, err := q.st.ListRuns(t.Context(), store.RunFilter{Queue: "q", Statuses: []store.RunStatus{store.RunRunning}, Limit: 10})
			if err != nil || len(page.Runs) != 1 || page.Runs[0].ID != id {
				t.Errorf("%s: listed %+v, %v", id, page, err)
			}
			kit.Exec(t, q.side, `DELETE FROM workflows.workflow_runs WHERE id = $1`, id)
		}
	})
}

// comesBack claims the only run of the queue again and again, each time after it was given back in another way.
func (q *queued) comesBack(id string, place store.Place) {
	t := q.t
	t.Helper()
	claimed := func(how string) store.Owned {
		t.Helper()
		got := q.claim(10)
		if len(got.Runs) != 1 || got.Runs[0].RunID != id || got.Runs[0].Place != place {
			t.Fatalf("%s, %s: claimed %+v", id, how, got)
		}
		return got.Runs[0].Owned
	}
	owned := claimed("started")
	kit.Must(t, q.st.ReleaseRun(t.Context(), owned, 0))
	owned = claimed("released")
	zero := time.Duration(0)
	wantOutcomes(t, q.st, []store.Write{&store.Park{Owned: owned, WakeIn: &zero, For: store.ForTime}}, store.Written)
	owned = claimed("its time has come")
	wantOutcomes(t, q.st, []store.Write{&store.Park{Owned: owned, For: store.ForSignal, WaitsFor: []string{store.WaitsForSignal("s")}}}, store.Written)
	if got := q.claim(10); len(got.Runs) > 0 {
		t.Errorf("%s: claimed while it waits for a signal: %+v", id, got)
	}
	_, err := q.st.SendSignal(t.Context(), store.NewSignal{RunID: id, Name: "s", Payload: json.RawMessage("1")})
	kit.Must(t, err)
	owned = claimed("woken")
	if _, err := q.st.BlockRun(t.Context(), owned, &store.Error{Message: "m"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET run_at = 1 WHERE id = $1`, id)
	claimed("blocked before")
	if n, err := q.st.ReleaseWorker(t.Context(), "me"); err != nil || n == 0 {
		t.Errorf("released %d, %v", n, err)
	}
	kit.Exec(t, q.side, `DELETE FROM workflows.workflow_workers`)
	worker(t, q.st, "me")
	claimed("its worker stopped")
	q.dies(t, "me")
	_, err = q.st.TakeOver(t.Context(), "other")
	kit.Must(t, err)
	kit.Exec(t, q.side, `DELETE FROM workflows.workflow_workers`)
	worker(t, q.st, "me")
	owned = claimed("its worker died")
	wantOutcomes(t, q.st, []store.Write{&store.End{Owned: owned, Status: store.RunFailed, Err: &store.Error{Message: "m"}}}, store.Written)
	kit.Must(t, q.st.ResumeRun(t.Context(), id))
	claimed("resumed")
}

// Runs that are announced elsewhere are nobody's, and say that they were not announced since they were last claimed.
func TestDispatchedRunsAreLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		for id, place := range map[string]store.Place{"plain": {}, "queued": {Queue: "q"}} {
			wantOutcomes(t, q.st, []store.Write{
				store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1"), Place: place, Dispatched: store.Unannounced}}, store.Written)
			kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET dispatched_at = 7 WHERE id = $1`, id)
			claimed, err := q.st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
			if err != nil || len(claimed.Runs) > 0 || len(q.claim(10).Runs) > 0 {
				t.Errorf("%s: claimed %+v, %v", id, claimed, err)
			}
			run, answer, err := q.st.ClaimRun(t.Context(), oneRun("me", id))
			if err != nil || answer != store.RunClaimed || run.Place != place {
				t.Errorf("%s: %s, %+v, %v", id, answer, run, err)
			}
			if at := kit.One[sql.NullInt64](t, q.side, `SELECT dispatched_at FROM workflows.workflow_runs WHERE id = $1`, id); at.Int64 != 0 || !at.Valid {
				t.Errorf("%s: dispatched_at is %v, want 0", id, at)
			}
		}
	})
}
