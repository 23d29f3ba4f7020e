package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A queued is a test's queue "q" and a worker "me" that claims from it.
type queued struct {
	*bundle
	t    *testing.T
	st   *store.Store
	asks int
}

// onQueue returns a bundle with the queue "q", bounded as given.
func onQueue(t *testing.T, access pgtest.Access, limits store.Queue) *queued {
	t.Helper()
	b := setup(t, access)
	q := &queued{bundle: b, t: t, st: writer(t, b)}
	worker(t, q.st, "me")
	q.set(limits)
	return q
}

// set changes the limits of the queue.
func (q *queued) set(limits store.Queue) {
	q.t.Helper()
	limits.Name = "q"
	kit.Must(q.t, q.st.SetQueue(q.t.Context(), limits))
}

// add starts n runs of workflow "w" in a place on the queue, one after the other, and returns their ids.
func (q *queued) add(n int, place store.Place) (ids []string) {
	q.t.Helper()
	place.Queue = "q"
	var rows []store.Write
	for i := range n {
		id := fmt.Sprintf("%s-%d-%04d-%d", place.Partition, place.Priority, i, time.Now().UnixNano())
		ids = append(ids, id)
		rows = append(rows, store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1"), Place: place})
	}
	for some := range slices.Chunk(rows, 500) {
		wantOutcomes(q.t, q.st, some, make([]store.Outcome, len(some))...)
	}
	return ids
}

// request is one for runs of the queue, which others change.
func (q *queued) request(limit int) store.QueueRequest {
	return store.QueueRequest{Worker: "me", Queue: "q", Workflows: []string{"w"}, Limit: limit, Suspects: true}
}

// claim claims up to limit runs of the queue for "me".
func (q *queued) claim(limit int) store.QueueClaim {
	q.t.Helper()
	return q.ask(q.request(limit))
}

// ask has every other claim ask as one of a queue without partitions: what comes of it is the same.
func (q *queued) ask(request store.QueueRequest) store.QueueClaim {
	q.t.Helper()
	request.Single = q.asks%2 == 1
	q.asks++
	claimed, err := q.st.ClaimQueue(q.t.Context(), request)
	kit.Must(q.t, err)
	return claimed
}

// wants claims up to limit runs, checks that these are n, and returns their ids in the order of the claim.
func (q *queued) wants(limit, n int) (ids []string) {
	q.t.Helper()
	claimed := q.claim(limit)
	for _, run := range claimed.Runs {
		ids = append(ids, run.RunID)
	}
	if len(ids) != n {
		q.t.Fatalf("a claim of %d brought %q, want %d runs: %+v", limit, ids, n, claimed)
	}
	return ids
}

// end ends runs that are running.
func (q *queued) end(ids ...string) {
	q.t.Helper()
	var rows []store.Write
	for _, id := range ids {
		rows = append(rows, &store.End{Owned: store.Owned{RunID: id, Epoch: 1}, Status: store.RunCompleted, Output: json.RawMessage("1")})
	}
	if len(rows) > 0 {
		wantOutcomes(q.t, q.st, rows, make([]store.Outcome, len(rows))...)
	}
}

// partitionsOf counts runs by their partition.
func partitionsOf(runs []store.ClaimedRun) map[string]int {
	counted := make(map[string]int)
	for _, run := range runs {
		counted[run.Partition]++
	}
	return counted
}
