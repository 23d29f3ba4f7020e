package store

import (
	"encoding/json"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Children are the runs that a step starts: one workflow with many inputs.
type Children struct {
	Workflow  string
	Version   string   // as in NewRun
	IDs       []string // as many as inputs
	Inputs    []json.RawMessage
	Delay     time.Duration // as in NewRun
	Deadline  time.Duration // as in NewRun
	Depth     int           // how many ancestors each has
	Abandoned bool          // they go on when their parent is cancelled
	Awaited   bool          // the step waits until all have ended
	Place
	Dispatched Dispatched
	Trace      Trace
}

func (c *Children) size() int {
	size := 0
	for i := range c.IDs {
		size += len(c.IDs[i]) + len(c.Inputs[i])
	}
	return size
}

// fill gives the ids and the inputs as one text each, the literal of an array: a row has one value for each of its fields.
func (c *Children) fill(row *fields) {
	var inputs pg.Array
	for _, input := range c.Inputs {
		inputs.Add(string(input))
	}
	row.text(c.Workflow)
	row.textOrNull(c.Version)
	row.text(pg.Texts(c.IDs))
	row.text(inputs.Literal())
	row.number(c.Delay.Milliseconds())
	if c.Deadline != 0 {
		row.number(c.Deadline.Milliseconds())
	} else {
		row.null()
	}
	row.number(int64(c.Depth))
	row.flag(c.Abandoned)
	row.flag(c.Awaited)
	row.json(c.Trace.meta())
	c.Place.fill(row, c.Dispatched)
}

// The step is written first, and the children of what was written after it: so the guard is asked once, and a row that is
// sent again, because its answer was lost, finds the step and starts nothing. An id of a child that is taken, by a run
// which is not of this step, is the error of a duplicate key. In the order of their ids they go into the indexes side by side: 15 %
// less WAL.
var fansOut = kind{
	name: "fan_out", op: "start children", given: "fan", runID: "run_id", stays: StepScheduled,
	fields: scheduleFields + ", workflow text, version text, ids text, inputs text, delay bigint, deadline bigint, " +
		"depth smallint, abandoned boolean, awaited boolean, meta jsonb, " + placeFields,
	written: "fanned", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, updated_at, kind, seq, started_at, wake_at, request, child_id, waiting)
SELECT fan.run_id, fan.step_name, CASE WHEN fan.awaited THEN 'scheduled' ELSE 'succeeded' END, clock.ms, fan.kind, fan.seq,
       clock.ms - fan.took, clock.ms + fan.wake_in, fan.request, (fan.ids::text[])[1],
       CASE WHEN fan.awaited THEN cardinality(fan.ids::text[]) END
FROM clock
CROSS JOIN fan
` + guard("fan", "run_id", "FOR SHARE"),
	alone: scheduleAgain,
	after: `
started_children AS (
    INSERT INTO {schema}.workflow_runs
        (id, workflow, status, input, created_at, updated_at, run_at, deadline_at, version,
         parent_id, parent_step, depth, abandoned, meta, queue, priority, partition_key, dispatched_at)
    SELECT child.id, fan.workflow, 'pending', child.input, clock.ms, clock.ms,
           least(clock.ms + fan.delay, clock.ms + fan.deadline), clock.ms + fan.deadline, fan.version,
           fan.run_id, CASE WHEN fan.awaited THEN fan.step_name END, fan.depth, nullif(fan.abandoned, false), fan.meta,
           fan.queue, fan.priority, fan.partition_key, fan.dispatched * clock.ms
    FROM clock
    CROSS JOIN fan
    JOIN fanned USING (run_id, step_name)
    CROSS JOIN LATERAL unnest(fan.ids::text[], fan.inputs::jsonb[]) AS child (id, input)
    ORDER BY child.id
)`,
}
