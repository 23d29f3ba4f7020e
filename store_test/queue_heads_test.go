package store_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// What goes first in a partition may have to wait: for its time, or because it is a suspect. Then the next one goes, of whatever
// workflow, as soon as it is the partition's turn.
func TestFirstOfAPartitionHasToWait(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, limit := range []int{1, 2, 10} { // fewer than partitions, as many, more
			q := onQueue(t, access, store.Queue{})
			for _, partition := range []string{"a", "b"} {
				place := store.Place{Queue: "q", Partition: partition}
				for _, run := range []struct {
					id, workflow string
					priority     int
					delay        time.Duration
				}{
					{"later", "w", store.HighestPriority, time.Hour},
					{"suspect", "v", store.HighestPriority + 1, 0},
					{"due", "w", store.UsualPriority, 0},
					{"behind", "v", store.LowestPriority, 0},
				} {
					place.Priority = run.priority
					wantOutcomes(t, q.st, []store.Write{store.NewRun{
						ID: run.id + " " + partition, Workflow: run.workflow, Input: json.RawMessage("1"), Place: place, Delay: run.delay,
					}}, store.Written)
				}
			}
			kit.Exec(t, q.side, `UPDATE workflows.workflow_runs SET take_overs = 2 WHERE id LIKE 'suspect%'`)
			var got []string
			request := q.request(limit)
			request.Workflows, request.Suspects = []string{"v", "w"}, false
			for range 4 {
				claimed := q.ask(request)
				request.After = claimed.After
				for _, run := range claimed.Runs {
					got = append(got, run.RunID)
				}
			}
			if diff := cmp.Diff([]string{"due a", "due b", "behind a", "behind b"}, got); diff != "" {
				t.Errorf("by %d at a time (-want +got):\n%s", limit, diff)
			}
			request.Suspects = true
			suspects := slices.Concat(q.ask(request).Runs, q.ask(request).Runs)
			if len(suspects) != 2 || !suspects[0].Suspect() || !suspects[1].Suspect() {
				t.Errorf("suspects: %+v", suspects)
			}
		}
	})
}
