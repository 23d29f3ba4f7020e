package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Attributes are what an application finds a run by: values by their names.
type Attributes map[string]string

// json is an object, which is as long as the values and a little more; nil for none.
func (a Attributes) json() json.RawMessage {
	if len(a) == 0 {
		return nil
	}
	object, err := json.Marshal(map[string]string(a))
	if err != nil {
		panic(err) // strings
	}
	return object
}

// arrays are the names and the values, to be compared with those of runs; NULLs for none.
func (a Attributes) arrays() (names, values any) {
	if len(a) == 0 {
		return nil, nil
	}
	var first, second pg.Array
	for name, value := range a {
		first.Add(name)
		second.Add(value)
	}
	return first.Literal(), second.Literal()
}

// AttributesStep is the kind of a step that sets attributes of its run. Its result has them.
const AttributesStep StepKind = "attributes"

// attributeSteps are checkpoints that set the attributes which are their result, and remove those whose value there is empty. What was
// recorded before sets nothing again. The order is for branches of a run that set the same: they must not wait for each other crosswise.
func attributeSteps() kind {
	k := checkpoints
	k.name, k.op = "set_attributes", "set attributes"
	k.after = `
unset AS (
    SELECT attribute.ctid
    FROM step
    JOIN recorded USING (run_id, step_name)
    CROSS JOIN LATERAL (
        SELECT key
        FROM jsonb_each_text(step.result)
        WHERE value = ''
        ORDER BY key
    ) AS given
    CROSS JOIN LATERAL (
        SELECT ctid
        FROM {schema}.workflow_attributes
        WHERE run_id = step.run_id AND name = given.key
        FOR UPDATE
    ) AS attribute
),
removed AS (
    DELETE FROM {schema}.workflow_attributes
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM unset))
),
attributed AS (
    INSERT INTO {schema}.workflow_attributes (created_at, run_id, name, value)
    SELECT run.created_at, step.run_id, given.key, given.value
    FROM step
    JOIN recorded USING (run_id, step_name)
    CROSS JOIN LATERAL (
        SELECT created_at
        FROM {schema}.workflow_runs
        WHERE id = step.run_id
        OFFSET 0
    ) AS run
    CROSS JOIN LATERAL jsonb_each_text(step.result) AS given
    WHERE given.value <> ''
    ORDER BY given.key
    ON CONFLICT (run_id, name) DO UPDATE
    SET value = EXCLUDED.value
)`
	return k
}

// startAttributes are set with the runs that are started with them; most have none.
const startAttributes = `
attributed AS (
    INSERT INTO {schema}.workflow_attributes (created_at, run_id, name, value)
    SELECT clock.ms, placed.id, given.key, given.value
    FROM clock
    CROSS JOIN placed
    JOIN placed_started USING (id)
    CROSS JOIN LATERAL jsonb_each_text(placed.attributes) AS given
    ORDER BY placed.id, given.key
)`

// hasAttributes is whether a run has all attributes of two parameters, arrays of names and values, or there are none. The value is compared
// outside, so that no plan looks for all runs that have it.
func hasAttributes(run, names, values string) string {
	return `(` + names + `::text[] IS NULL OR cardinality(` + names + `::text[]) = (
	           SELECT count(*)
	           FROM unnest((SELECT ` + names + `::text[]), (SELECT ` + values + `::text[])) AS wanted (name, value)
	           CROSS JOIN LATERAL (
	               SELECT value
	               FROM {schema}.workflow_attributes
	               WHERE run_id = ` + run + ` AND name = wanted.name
	               OFFSET 0
	           ) AS attribute
	           WHERE attribute.value = wanted.value))`
}

var getAttributes = pg.DefineRead("get_attributes", `
	SELECT attribute.name, attribute.value
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_attributes AS attribute ON attribute.run_id = run.id
	WHERE run.id = $1`)

// GetAttributes returns the attributes of a run; ErrRunNotFound when there is no such run.
func (s *Store) GetAttributes(ctx context.Context, runID string) (Attributes, error) {
	var rows []struct {
		Name  sql.NullString `db:"name"`
		Value sql.NullString `db:"value"`
	}
	err := s.db.List(ctx, &rows, getAttributes, runID)
	if err == nil && len(rows) == 0 {
		err = ErrRunNotFound
	}
	if err != nil {
		return nil, pg.Problem(fmt.Sprintf("get attributes of run %q", runID), err)
	}
	attributes := make(Attributes)
	for _, row := range rows {
		if row.Name.Valid {
			attributes[row.Name.String] = row.Value.String
		}
	}
	return attributes, nil
}
