package store

// childEnds is the end of a run that a step of its parent awaits. The step counts down by as many of its children as end in
// this statement, and only the last one touches the parent's run. Nothing here waits for a lock: a child whose step, or
// whose parent when it is needed, is locked by somebody else does not end now. Nor does one whose parent ends in the same
// statement: a row is written once in a statement.
var childEnds = kind{
	name: "end_child", op: "finish run", given: "child", runID: "id",
	fields: "id text, epoch bigint, status text, output jsonb, error jsonb, wake_seq bigint, parent_id text, parent_step text",
	before: `
ending AS MATERIALIZED (
    SELECT child.*
    FROM child
    ` + guard("child", "id", "FOR NO KEY UPDATE", unwoken("child")) + `
    WHERE child.parent_id NOT IN (SELECT id FROM child)
), counted AS MATERIALIZED (
    -- A step that was closed meanwhile counts no more, and one that was deleted with its run neither: remaining is NULL.
    SELECT family.parent_id, family.parent_step, step.remaining
    FROM (SELECT parent_id, parent_step, count(*)::int AS ended FROM ending GROUP BY parent_id, parent_step) AS family
    LEFT JOIN LATERAL (
        SELECT true AS locked, CASE WHEN status = 'scheduled' AND waiting > 0 THEN greatest(waiting - family.ended, 0) END AS remaining
        FROM {schema}.workflow_steps
        WHERE run_id = family.parent_id AND step_name = family.parent_step
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS step ON true
    WHERE step.locked OR (
        SELECT true FROM {schema}.workflow_steps WHERE run_id = family.parent_id AND step_name = family.parent_step
    ) IS NULL
), told AS MATERIALIZED (
    SELECT counted.*, counted.remaining = 0 AND parent.unfinished AS last
    FROM counted
    LEFT JOIN LATERAL (
        SELECT true AS locked, status IN ('pending', 'running', 'suspended') AS unfinished
        FROM {schema}.workflow_runs
        WHERE id = counted.parent_id AND counted.remaining = 0
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS parent ON true
    WHERE parent.locked OR counted.remaining IS DISTINCT FROM 0
)`,
	// As for the end of any run.
	written: "child_ended", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, output, error, created_at, updated_at)
SELECT ending.id, '', ending.status, 'null', ending.output, ending.error, 0, clock.ms
FROM clock
CROSS JOIN ending
JOIN told USING (parent_id, parent_step)
ON CONFLICT (id) DO UPDATE
SET ` + ends("EXCLUDED.status", "EXCLUDED.output", "EXCLUDED.error", "EXCLUDED.updated_at"),
	after: tellParents,
}
