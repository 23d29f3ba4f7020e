package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// One run is claimed by its id if it may run now and its queue has room for it; else the answer says why not.
func TestClaimRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 2, MaxPerPartition: 1})
		usual := store.Place{Priority: store.UsualPriority}
		ids := q.add(4, usual)
		ids = append(ids, q.add(1, store.Place{Priority: store.UsualPriority, Partition: "p"})...)
		plain := q.newRun(t)
		wants := func(what, worker, id string, want store.ClaimAnswer) {
			t.Helper()
			run, got, err := q.st.ClaimRun(t.Context(), oneRun(worker, id))
			if err != nil || got != want || (run.RunID == id) != (want == store.RunClaimed) {
				t.Errorf("%s: %s, %+v, %v, want %s", what, got, run, err, want)
			}
		}
		wants("no such run", "me", "unknown", store.RunUnknown)
		wants("no lease", "nobody", ids[0], store.RunNoLease)
		wants("no lease, no queue", "nobody", plain, store.RunNoLease)
		tx := kit.Begin(t, q.side)
		kit.Exec(t, tx, `SELECT FROM workflows.workflow_queue_turns FOR UPDATE`)
		wants("another claim", "me", ids[0], store.RunMissed)
		kit.Must(t, tx.Rollback())
		release := q.holdRow(t, ids[0])
		wants("locked", "me", ids[0], store.RunMissed)
		release()

		wants("the first", "me", ids[0], store.RunClaimed)
		wants("again", "me", ids[0], store.RunTaken)
		wants("of a full partition", "me", ids[1], store.RunNoPlace)
		wants("of another one", "me", ids[4], store.RunClaimed)
		q.set(store.Queue{MaxRunning: 2})
		wants("on a full queue", "me", ids[1], store.RunNoPlace)
		q.end(ids[0])
		wants("finished", "me", ids[0], store.RunEnded)
		kit.Must(t, q.st.PauseQueue(t.Context(), "q"))
		wants("on a paused queue", "me", ids[1], store.RunNoPlace)
		kit.Must(t, q.st.ResumeQueue(t.Context(), "q"))
		wants("once there is room", "me", ids[1], store.RunClaimed)
		wantOutcomes(t, q.st, []store.Write{&store.Park{Owned: store.Owned{RunID: ids[1], Epoch: 1}, For: store.ForChildren}}, store.Written)
		wants("parked", "me", ids[1], store.RunNotDue)
		q.set(store.Queue{RateCount: 1, RateWindow: time.Hour})
		wants("at a rate", "me", ids[2], store.RunClaimed)
		wants("beyond the rate", "me", ids[3], store.RunNoPlace)
		wants("without a queue", "me", plain, store.RunClaimed)
		if got := q.claim(1); len(got.Runs) > 0 || got.Wait < time.Minute {
			t.Errorf("a claim of the queue after that: %+v", got)
		}
	})
}

// A queued run fails at its deadline although nobody claims it, and the step that waits for it goes on. One that others have
// locked, or that is not overdue any more, is left.
func TestEndOverdue(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		parent := q.ownedRun(t)
		row := fanOut(parent, "s", 1)
		row.Children.Place, row.Children.Deadline = store.Place{Queue: "q"}, time.Millisecond
		child := row.Children.IDs[0]
		wantOutcomes(t, q.st, []store.Write{row}, store.Written)
		wantOutcomes(t, q.st, []store.Write{
			&store.Park{Owned: row.Owned, For: store.ForChildren, WaitsFor: []string{store.WaitsForStep("s")}}}, store.Written)
		wantOutcomes(t, q.st, []store.Write{
			store.NewRun{ID: "plain", Workflow: "w", Input: []byte("1"), Deadline: time.Millisecond},
			store.NewRun{ID: "later", Workflow: "w", Input: []byte("1"), Deadline: time.Hour, Place: store.Place{Queue: "q"}},
			store.NewRun{ID: "announced", Workflow: "w", Input: []byte("1"), Deadline: time.Millisecond, Dispatched: store.Unannounced},
			store.NewRun{ID: "claimed", Workflow: "w", Input: []byte("1"), Deadline: time.Millisecond, Place: store.Place{Queue: "q"}},
		}, make([]store.Outcome, 4)...)
		kit.Until(t, "three are overdue", func() bool {
			overdue, err := q.st.Overdue(t.Context())
			kit.Must(t, err)
			return len(overdue) == 3
		})
		if _, answer, err := q.st.ClaimRun(t.Context(), oneRun("me", "claimed")); err != nil || answer != store.RunClaimed {
			t.Fatal(answer, err)
		}
		overdue, err := q.st.Overdue(t.Context())
		kit.Must(t, err)
		byID := func(a, b store.OverdueRun) int { return strings.Compare(a.ID, b.ID) }
		slices.SortFunc(overdue, byID)
		want := []store.OverdueRun{{ID: child, Workflow: row.Children.Workflow, Queue: "q"}, {ID: "announced", Workflow: "w"}}
		slices.SortFunc(want, byID)
		if diff := cmp.Diff(want, overdue); diff != "" {
			t.Errorf("overdue (-want +got):\n%s", diff)
		}
		end := func(id string, want bool) {
			t.Helper()
			if ended, err := q.st.EndOverdue(t.Context(), id, &store.Error{Message: "too late", Code: "deadline"}); err != nil || ended != want {
				t.Errorf("%s: ended %t, %v, want %t", id, ended, err, want)
			}
		}
		for _, id := range []string{"plain", "claimed", "later", "unknown"} {
			end(id, id == "plain") // nobody is to ask for that, but it is true
		}
		for _, locked := range []string{child, parent} {
			release := q.holdRow(t, locked)
			end(child, false)
			release()
		}
		end(child, true)
		end(child, false)
		run, err := q.st.GetRun(t.Context(), child)
		var failure *store.Error
		if err != nil || run.Status != store.RunFailed || !errors.As(run.Err, &failure) || failure.Code != "deadline" {
			t.Errorf("the child: %+v, %v", run, err)
		}
		if run, err = q.st.GetRun(t.Context(), parent); err != nil || run.RunAt.IsZero() {
			t.Errorf("the parent: %+v, %v", run, err)
		}
	})
}

// Whoever asks where a run is learns of its queue.
func TestWhereaboutsOfAQueuedRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 2, MaxPerPartition: 1})
		place := store.Place{Queue: "q", Priority: 1, Partition: "p"}
		ids := q.add(3, place)
		q.add(1, store.Place{Priority: 1})
		q.wants(2, 2)
		kit.Must(t, q.st.PauseQueue(t.Context(), "q"))
		kit.Must(t, q.st.RegisterWorker(t.Context(), store.Worker{ID: "elsewhere", Workflows: []string{"w"}, Queues: []string{"", "other"}}, lease))
		got, err := q.st.Whereabouts(t.Context(), ids[2])
		kit.Must(t, err)
		first := func(room *store.QueueRoom) (ids []string) {
			for _, run := range room.Running.First {
				ids = append(ids, run.RunID)
			}
			return ids
		}
		if got.Room == nil {
			t.Fatalf("it has no room: %+v", got)
		}
		running := kit.Column[string](t, q.side, `SELECT id FROM workflows.workflow_runs WHERE status = 'running' ORDER BY updated_at, id`)
		want := &store.QueueRoom{
			Queue: store.Queue{Name: "q", MaxRunning: 2, MaxPerPartition: 1}, PausedAt: got.Room.PausedAt,
			Running: store.Crowd{Count: 2, First: got.Room.Running.First}, InPartition: store.Crowd{Count: 1, First: got.Room.InPartition.First},
		}
		if diff := cmp.Diff(running, first(got.Room)); diff != "" || len(got.Room.InPartition.First) != 1 || got.Room.PausedAt.IsZero() {
			t.Errorf("%+v, and who fills it (-want +got):\n%s", got.Room, diff)
		}
		if diff := cmp.Diff(want, got.Room); diff != "" || got.Place != place || got.Workers != 2 || got.Serving != 1 || got.Dispatched {
			t.Errorf("%+v (-want +got):\n%s", got, diff)
		}
		plain := q.newRun(t)
		if got, err = q.st.Whereabouts(t.Context(), plain); err != nil || got.Room != nil || got.Place != (store.Place{}) || got.Serving != 2 {
			t.Errorf("without a queue: %+v, %v", got, err)
		}
	})
}

// Queues and workflows that nobody serves are found, each in its way.
func TestUnservedQueues(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for i, run := range []struct{ workflow, queue string }{
			{"w", "a"}, {"w", "b"}, {"v", "b"}, {"x", "b"}, {"w", ""}, {"v", ""}, {"w", "b"},
		} {
			wantOutcomes(t, st, []store.Write{store.NewRun{
				ID: string(rune('a' + i)), Workflow: run.workflow, Input: []byte("1"), Place: store.Place{Queue: run.queue}}}, store.Written)
		}
		for what, test := range map[string]struct {
			serves    map[string][]string // by workflow
			queues    []string            // with workflows
			workflows []string
		}{
			"nobody":         {nil, []string{"a w", "b v", "b w", "b x"}, []string{"v", "w"}},
			"all":            {map[string][]string{"w": nil, "v": nil}, []string{"b x"}, nil},
			"named queues":   {map[string][]string{"w": {"a", "b"}}, []string{"b v", "b x"}, []string{"v", "w"}},
			"without queues": {map[string][]string{"w": {"b", ""}}, []string{"a w", "b v", "b x"}, []string{"v"}},
		} {
			kit.Exec(t, b.side, `DELETE FROM workflows.workflow_workers`)
			for name, queues := range test.serves {
				kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{ID: name, Workflows: []string{name}, Queues: queues}, lease))
			}
			unserved, err := st.UnservedQueues(t.Context())
			kit.Must(t, err)
			var queues []string
			for _, u := range unserved {
				queues = append(queues, u.Queue+" "+u.Workflow)
			}
			workflows, err := st.UnservedWorkflows(t.Context())
			kit.Must(t, err)
			if diff := cmp.Diff(test.queues, queues) + cmp.Diff(test.workflows, workflows); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
	})
}
