package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A run of a queue is claimed like one without, and knows where it was.
func TestQueueClaim(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		place := store.Place{Queue: "q", Priority: store.LowestPriority, Partition: "it's {a} \"name\""}
		minute, trace := time.Minute, store.Trace{"traceparent": "00-a\"b"}
		wantOutcomes(t, q.st, []store.Write{
			store.NewRun{ID: "due", Workflow: "w", Input: json.RawMessage(`{"n": 1}`), Place: place, Deadline: minute, Trace: trace},
			store.NewRun{ID: "later", Workflow: "w", Input: json.RawMessage("1"), Place: place, Delay: time.Hour},
			store.NewRun{ID: "unknown", Workflow: "x", Input: json.RawMessage("1"), Place: place},
			store.NewRun{ID: "elsewhere", Workflow: "w", Input: json.RawMessage("1"), Place: store.Place{Queue: "other"}},
			store.NewRun{ID: "unqueued", Workflow: "w", Input: json.RawMessage("1")},
		}, make([]store.Outcome, 5)...)
		kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET take_overs = 3, wake_seq = 2, parent_id = 'p', parent_step = 's', depth = 1 WHERE id = 'due'`)
		got := q.claim(10)
		runAt := kit.One[int64](t, q.side, `SELECT created_at FROM workflows.workflow_runs WHERE id = 'due'`)
		if len(got.Runs) != 1 || got.Runs[0].Deadline == nil || *got.Runs[0].Deadline > minute || *got.Runs[0].Deadline < minute/2 {
			t.Fatalf("claimed %+v", got)
		}
		if waited := got.Runs[0].Waited.Milliseconds(); waited != got.Now-runAt {
			t.Errorf("it had waited for %d ms, want %d", waited, got.Now-runAt)
		}
		got.Runs[0].Deadline, got.Runs[0].Waited = nil, 0
		want := []store.ClaimedRun{{
			Owned: store.Owned{RunID: "due", Epoch: 1}, Workflow: "w", Input: json.RawMessage(`{"n": 1}`), RunAt: runAt, TakeOvers: 3,
			WakeSeq: 2, ParentID: "p", ParentStep: "s", Depth: 1, Place: place, Trace: trace,
		}}
		if diff := cmp.Diff(want, got.Runs); diff != "" || got.Now < runAt || got.After != place.Partition || got.Full || got.Missed || got.More || got.Single || got.Wait != 0 {
			t.Errorf("%+v (-want +got):\n%s", got, diff)
		}
		for what, change := range map[string]func(*store.QueueRequest){
			"nothing more":     func(*store.QueueRequest) {},
			"another queue":    func(r *store.QueueRequest) { r.Queue = "other" }, // that nobody has made
			"no workflows":     func(r *store.QueueRequest) { r.Workflows = nil },
			"no such worker":   func(r *store.QueueRequest) { r.Worker, r.Workflows = "nobody", []string{"x"} },
			"a limit of none":  func(r *store.QueueRequest) { r.Workflows, r.Limit = []string{"x"}, 0 },
			"a later mark":     func(r *store.QueueRequest) { r.Workflows, r.Marks = []string{"x"}, marks("x", got.Now+1) },
			"marks of another": func(r *store.QueueRequest) { r.Marks = marks("x", got.Now+1) },
		} {
			request := q.request(10)
			change(&request)
			if got := q.ask(request); len(got.Runs) > 0 || got.Missed || got.Now == 0 {
				t.Errorf("%s: %+v", what, got)
			}
		}
		request := q.request(10)
		request.Workflows = []string{"w", "x"}
		if got := q.ask(request); len(got.Runs) != 1 || got.Runs[0].RunID != "unknown" {
			t.Errorf("once the workflow is known: %+v", got)
		}
	})
}

// marks are those of all levels of a workflow on the queue.
func marks(workflow string, mark int64) map[store.Lane]int64 {
	all := make(map[store.Lane]int64)
	for priority := range store.LowestPriority + 1 {
		all[store.Lane{Queue: "q", Workflow: workflow, Priority: priority}] = mark
	}
	return all
}

// Runs go by priority, then by time, whatever their workflow. A mark on one priority hides nothing of another.
func TestQueuePriorities(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, partition := range []string{"", "p"} {
			q := onQueue(t, access, store.Queue{})
			var want []string
			for priority := store.LowestPriority; priority >= store.HighestPriority; priority-- {
				for n := range 2 {
					for i, name := range []string{"w", "v"} {
						id := fmt.Sprintf("%d%d%d", priority, n, i)
						want = append(want, id)
						wantOutcomes(t, q.st, []store.Write{store.NewRun{
							ID: id, Workflow: name, Input: json.RawMessage("1"), Place: store.Place{Queue: "q", Priority: priority, Partition: partition},
						}}, store.Written)
						kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET run_at = 1000 + $2::int WHERE id = $1`, id, 10*n+i)
					}
				}
			}
			slices.Sort(want)
			var got []string
			for len(got) < len(want) {
				request := q.request(3)
				request.Workflows = []string{"v", "w"}
				request.Marks = map[store.Lane]int64{{Queue: "q", Workflow: "w", Priority: 3}: 1001} // one of that has passed
				if len(got) >= len(want)-1 {
					request.Marks = nil
				}
				claimed := q.ask(request)
				if len(claimed.Runs) == 0 {
					t.Fatalf("claimed %q, and nothing more", got)
				}
				for _, run := range claimed.Runs {
					got = append(got, run.RunID)
				}
			}
			marked := slices.Index(want, "300")
			want = append(slices.Delete(want, marked, marked+1), "300")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("partition %q (-want +got):\n%s", partition, diff)
			}
		}
	})
}

// Partitions take turns, those of two workflows together, and the one without a name among them: whatever a claim brings, nobody
// is served twice before everybody was.
func TestPartitionsTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		sizes := map[string]int{"": 30, "a": 100, "b": 30, "c": 30}
		for partition, n := range sizes {
			q.add(n, store.Place{Priority: store.UsualPriority, Partition: partition})
		}
		after, served := "", make(map[string]int)
		for _, limit := range []int{1, 1, 1, 1, 1, 2, 3, 5, 6, 7, 11, 13, 17} {
			request := q.request(limit)
			request.After = after
			claimed := q.ask(request)
			if len(claimed.Runs) != limit {
				t.Fatalf("a claim of %d: %+v", limit, claimed)
			}
			after = claimed.After
			for partition, n := range partitionsOf(claimed.Runs) {
				served[partition] += n
			}
			least, most := 1000, 0
			for partition := range sizes {
				least, most = min(least, served[partition]), max(most, served[partition])
			}
			if most-least > 1 {
				t.Errorf("after a claim of %d: %v", limit, served)
			}
		}
		// When the short ones are done, the long one gets all.
		if claimed := q.claim(1000); len(claimed.Runs) != 190-69 || claimed.More {
			t.Errorf("the rest is %d runs, more %t", len(claimed.Runs), claimed.More)
		}
	})
}

// Many partitions are gone through a hundred at a time, and none is left out, though most have nothing to do.
func TestManyPartitions(t *testing.T) {
	t.Parallel()
	q := onQueue(t, pgtest.PGX, store.Queue{})
	kit.Exec(t, q.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'run' || n, 'w', 'pending', '1', 1, 1, CASE WHEN n % 190 = 0 THEN n ELSE 9000000000000 END, 'q', 2, lpad(n::text, 5, '0')
		FROM generate_series(1, 1000) AS n`)
	var got []string
	after := ""
	for claims := 1; ; claims++ {
		request := q.request(3)
		request.After = after
		claimed := q.ask(request)
		for _, run := range claimed.Runs {
			got = append(got, run.RunID)
		}
		after = claimed.After
		if claims > 12 || !claimed.More && claims < 10 {
			t.Fatalf("%d claims, want ten or so", claims)
		}
		if !claimed.More {
			break
		}
	}
	var want []string
	for n := 190; n <= 1000; n += 190 {
		want = append(want, fmt.Sprint("run", n))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A queue is found when something may be due on it, for workflows that are known, by whoever serves it.
func TestFindQueues(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		now := time.Now().UnixMilli()
		for name, run := range map[string]struct {
			workflow, partition string
			runAt               int64
		}{
			"a": {"w", "", 5}, "b": {"w", "p", 5}, "c": {"other", "", 5}, "d": {"w", "", now + time.Hour.Milliseconds()}, "e": {"w", "", 5},
		} {
			kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: name}))
			kit.Exec(t, b.side, `
				INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
				VALUES ('run ' || $1, $2, 'pending', '1', 1, 1, $3, $1, 3, $4)`, name, run.workflow, run.runAt, run.partition)
		}
		kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "empty"}))
		kit.Must(t, st.PauseQueue(t.Context(), "e"))
		lane := func(queue string, priority int) store.Lane {
			return store.Lane{Queue: queue, Workflow: "w", Priority: priority}
		}
		for what, test := range map[string]struct {
			request store.FindRequest
			want    []string
		}{
			"all":                {store.FindRequest{Workflows: []string{"w"}}, []string{"a", "b"}},
			"both workflows":     {store.FindRequest{Workflows: []string{"other", "w"}}, []string{"a", "b", "c"}},
			"no workflow":        {store.FindRequest{}, nil},
			"served":             {store.FindRequest{Workflows: []string{"w"}, Serve: []string{"b", "c", "e", "nowhere"}}, []string{"b"}},
			"none served":        {store.FindRequest{Workflows: []string{"w"}, Serve: []string{}}, nil},
			"marks on the way":   {store.FindRequest{Workflows: []string{"other", "w"}, Marks: map[store.Lane]int64{lane("a", 3): 5}}, []string{"b", "c"}},
			"marks elsewhere":    {store.FindRequest{Workflows: []string{"w"}, Marks: map[store.Lane]int64{lane("a", 2): 5, lane("b", 3): 5}}, []string{"a", "b"}},
			"marks of a lower":   {store.FindRequest{Workflows: []string{"w"}, Marks: map[store.Lane]int64{lane("a", 3): 4}}, []string{"a", "b"}},
			"marks of all, full": {store.FindRequest{Workflows: []string{"w"}, Marks: marksOn("b", 5)}, []string{"a"}},
			"marks, and served": {store.FindRequest{Workflows: []string{"w"}, Serve: []string{"b", "a"}, Marks: map[store.Lane]int64{lane("a", 3): 5}},
				[]string{"b"}},
		} {
			found, err := st.FindQueues(t.Context(), test.request)
			kit.Must(t, err)
			slices.Sort(found)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
	})
}

// marksOn are those of all levels of workflow "w" on a queue.
func marksOn(queue string, mark int64) map[store.Lane]int64 {
	all := make(map[store.Lane]int64)
	for lane, mark := range marks("w", mark) {
		lane.Queue = queue
		all[lane] = mark
	}
	return all
}

// One suspect at a time, and none where none is wanted.
func TestQueueSuspects(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{})
		suspects := q.add(3, store.Place{Priority: store.UsualPriority})
		kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET take_overs = 2`)
		q.add(2, store.Place{Priority: store.UsualPriority})
		request := q.request(3)
		request.Suspects = false
		got := q.ask(request)
		if len(got.Runs) != 2 || got.Runs[0].TakeOvers > 0 {
			t.Errorf("without suspects: %+v", got)
		}
		for range suspects {
			if got := q.ask(q.request(3)); len(got.Runs) != 1 || !got.Runs[0].Suspect() {
				t.Errorf("with suspects: %+v", got)
			}
		}
		q.wants(3, 0)
	})
}

// A worker without a lease claims nothing, and takes nobody's turn.
func TestQueueClaimWithoutLease(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 1})
		q.add(2, store.Place{Priority: store.UsualPriority})
		turn := func() string {
			return kit.One[string](t, q.side, `SELECT string_agg(seq || ' ' || queue, ', ') FROM workflows.workflow_queue_turns`)
		}
		before := turn()
		q.dies(t, "me")
		if got := q.claim(2); len(got.Runs) > 0 || got.Missed {
			t.Errorf("claimed %+v", got)
		}
		if after := turn(); after != before {
			t.Errorf("turns: %s, then %s", before, after)
		}
		kit.Exec(t, q.side, `DELETE FROM workflows.workflow_workers`)
		worker(t, q.st, "me")
		q.wants(2, 1)
		if after := turn(); after != "1 q" {
			t.Errorf("turns: %s", after)
		}
	})
}

// Somebody else's turn is not waited for: the claim is missed at once, with nothing locked; a run that others have locked is left.
func TestQueueTurnIsTaken(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 5})
		ids := q.add(3, store.Place{Priority: store.UsualPriority})
		tx := kit.Begin(t, q.side)
		kit.Exec(t, tx, `SELECT FROM workflows.workflow_queue_turns FOR UPDATE`)
		if got := q.claim(2); len(got.Runs) > 0 || !got.Missed || got.Full {
			t.Errorf("claimed %+v", got)
		}
		kit.Must(t, tx.Rollback())
		release := q.holdRow(t, ids[0])
		if got := q.claim(2); len(got.Runs) != 1 || got.Runs[0].RunID != ids[1] || got.Missed {
			t.Errorf("beside a locked run: %+v", got)
		}
		release()
		q.wants(5, 2)
	})
}

// Whether any run has a partition is what marks depend on.
func TestQueueIsSingle(t *testing.T) {
	t.Parallel()
	q := onQueue(t, pgtest.PQ, store.Queue{})
	q.add(2, store.Place{Priority: store.UsualPriority})
	if got := q.claim(1); !got.Single || got.After != "" {
		t.Errorf("without partitions: %+v", got)
	}
	q.add(1, store.Place{Priority: store.UsualPriority, Partition: "p"})
	if got := q.claim(1); got.Single || got.After != "p" {
		t.Errorf("with one: %+v", got)
	}
	if got := q.claim(1); !got.Single || len(got.Runs) != 1 {
		t.Errorf("once it is gone: %+v", got)
	}
}
