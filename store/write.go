package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// A Write is a row that the engine writes all the time: the start of a run ([NewRun]), the success of a step
// ([Checkpoint]) or the outcome of a run ([End]).
type Write interface {
	// row returns the arguments of the statement that writes this alone, which are the values of its row among
	// others: strings, int64s and nils.
	row() []any
}

// A part is how one kind of write stands in a statement with many rows.
type part struct {
	op     string
	alone  query  // the statement for one row
	fields string // of the given rows, with their types, in the order of Write.row
	given  string // names these rows
	write  string // writes them
	missed string // tells which of them the guard refused; "" when there is no guard
}

// The kinds of writes, in the order in which a statement has them: a start before what the run does next.
var parts = []part{
	{
		op: "create run", alone: startRun, given: "start",
		fields: "id text, workflow text, input jsonb, worker text, delay bigint, deadline bigint",
		write: `
started AS (
    INSERT INTO {schema}.workflow_runs
        (id, workflow, status, input, created_at, updated_at, owner, epoch, run_at, deadline_at)
    SELECT start.id, start.workflow, CASE WHEN worker.id IS NULL THEN 'pending' ELSE 'running' END, start.input, clock.ms, clock.ms,
           worker.id, CASE WHEN worker.id IS NULL THEN 0 ELSE 1 END,
           CASE WHEN worker.id IS NULL THEN least(clock.ms + start.delay, clock.ms + start.deadline) END,
           clock.ms + start.deadline
    FROM clock
    CROSS JOIN start
    LEFT JOIN {schema}.workflow_workers AS worker ON worker.id = start.worker AND worker.expires_at > {now_ms}
)`,
	},
	{
		op: "checkpoint step", alone: hastyCheckpoint, given: "step",
		fields: "run_id text, epoch bigint, step_name text, result jsonb, kind text, wake_in bigint",
		// The guard is lateral: one descent of the index for each row, whatever a plan that is kept thinks of the table.
		write: `
recorded AS (
    INSERT INTO {schema}.workflow_steps (run_id, step_name, status, result, updated_at, kind, wake_at)
    SELECT step.run_id, step.step_name, 'succeeded', step.result, clock.ms, step.kind, clock.ms + step.wake_in
    FROM clock
    CROSS JOIN step
    CROSS JOIN LATERAL (
        SELECT
        FROM {schema}.workflow_runs
        WHERE id = step.run_id AND epoch = step.epoch AND status = 'running'
        FOR SHARE SKIP LOCKED
    ) AS run
    RETURNING run_id, step_name
)`,
		missed: `SELECT 1 AS part, n
FROM step
WHERE (SELECT count(*) FROM recorded) < (SELECT count(*) FROM step) -- else nothing is to be looked for
  AND (run_id, step_name) NOT IN (SELECT run_id, step_name FROM recorded)`,
	},
	{
		op: "finish run", alone: hastyFinishRun, given: "finish",
		fields: "id text, epoch bigint, status text, output jsonb, error jsonb",
		write: `
finished AS (
    -- The run exists and is locked, so this always ends in the update. An UPDATE would join instead, and a plan from
    -- when the table was small would read all of it.
    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, output, error, created_at, updated_at)
    SELECT finish.id, '', finish.status, 'null', finish.output, finish.error, 0, clock.ms
    FROM clock
    CROSS JOIN finish
    CROSS JOIN LATERAL (
        SELECT
        FROM {schema}.workflow_runs
        WHERE id = finish.id AND epoch = finish.epoch AND status = 'running'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS run
    ON CONFLICT (id) DO UPDATE
    SET status = EXCLUDED.status, output = EXCLUDED.output, error = EXCLUDED.error, owner = NULL,
        updated_at = EXCLUDED.updated_at
    RETURNING run.id
)`,
		missed: `SELECT 2 AS part, n
FROM finish
WHERE (SELECT count(*) FROM finished) < (SELECT count(*) FROM finish)
  AND id NOT IN (SELECT id FROM finished)`,
	},
}

func partOf(w Write) int {
	switch w.(type) {
	case NewRun:
		return 0
	case *Checkpoint:
		return 1
	default:
		return 2
	}
}

// grouped holds the statement for each set of parts, by a bit for each: what a batch lacks costs it nothing.
var grouped = defineGrouped()

func defineGrouped() []query {
	queries := make([]query, 1<<len(parts))
	for set := 1; set < len(queries); set++ {
		queries[set] = define(groupedText(set))
	}
	return queries
}

func groupedText(set int) string {
	clauses := []string{"clock AS (\n    SELECT {clock_ms} AS ms\n)"}
	var missed []string
	parameter := 0
	for i, p := range parts {
		if set&(1<<i) == 0 {
			continue
		}
		var names, arrays []string
		for field := range strings.SplitSeq(p.fields, ", ") {
			name, kind, _ := strings.Cut(field, " ")
			parameter++
			names = append(names, name)
			// In a sub-select the planner cannot count the elements. If it could, it would plan anew for each batch.
			arrays = append(arrays, "(SELECT $"+strconv.Itoa(parameter)+"::"+kind+"[])")
		}
		columns := strings.Join(names, ", ")
		clauses = append(clauses, p.given+" AS (\n    SELECT "+columns+", n\n    FROM unnest("+strings.Join(arrays, ", ")+
			")\n         WITH ORDINALITY AS given ("+columns+", n)\n)", strings.TrimPrefix(p.write, "\n"))
		if p.missed != "" {
			missed = append(missed, p.missed)
		}
	}
	if missed == nil {
		missed = []string{"SELECT 0 AS part, 0 AS n WHERE false"}
	}
	return "WITH " + strings.Join(clauses, ", ") + "\n" + strings.Join(missed, "\nUNION ALL\n")
}

// Write writes rows in one statement and reports which of them it wrote. No row waits for another: what the guard refuses
// (the run is lost, finished, or locked by others at this moment) is not written, and [Store.CreateRun],
// [Store.Checkpoint] and [Store.FinishRun] tell why. An error concerns all rows: they were written all, or none.
//
// Rows that are written with others are expected to be new: if one of the runs or steps exists, that is an error of all
// ([IsRejected]), because an INSERT that provides for it costs half as much again. A row that is written alone may exist: then
// it is not written if it is a run, or a step that has succeeded. A row with an id that others may create in a
// transaction of theirs is to be written alone, for it waits for them.
func (s *Store) Write(ctx context.Context, writes []Write) (written []bool, err error) {
	written = make([]bool, len(writes))
	if len(writes) == 1 {
		p := parts[partOf(writes[0])]
		n, err := s.exec(ctx, p.alone, writes[0].row()...)
		written[0] = n == 1
		return written, problem(p.op, err)
	}

	b := newBatch(writes)
	var missed []struct {
		Part int `db:"part"`
		N    int `db:"n"`
	}
	if err := s.list(ctx, &missed, grouped[b.set], b.args()...); err != nil {
		return written, problem(fmt.Sprintf("write %d rows", len(writes)), err)
	}
	for i := range written {
		written[i] = true
	}
	for _, m := range missed {
		written[b.places[m.Part][m.N-1]] = false
	}
	return written, nil
}

// A batch is the arguments of a statement with many rows: an array for each field of each part.
type batch struct {
	set    int
	places [][]int // by part: the rows' places among all writes
	arrays [][]array
}

func newBatch(writes []Write) batch {
	b := batch{places: make([][]int, len(parts)), arrays: make([][]array, len(parts))}
	for place, w := range writes {
		i, row := partOf(w), w.row()
		if b.arrays[i] == nil {
			b.set |= 1 << i
			b.arrays[i] = make([]array, len(row))
		}
		b.places[i] = append(b.places[i], place)
		for field, value := range row {
			if text, ok := value.(string); ok && b.arrays[i][field].text.Len() == 0 {
				b.arrays[i][field].text.Grow((len(text) + 8) * len(writes)) // as the others will be alike
			}
			b.arrays[i][field].add(value)
		}
	}
	return b
}

func (b batch) args() []any {
	var args []any
	for _, arrays := range b.arrays {
		for i := range arrays {
			args = append(args, arrays[i].literal())
		}
	}
	return args
}

// An array is an array literal of PostgreSQL in the making. Drivers have types of their own for arrays; the literal, as a
// string, they all send alike.
type array struct{ text strings.Builder }

// add appends a string, an int64 or nil.
func (a *array) add(value any) {
	if a.text.Len() == 0 {
		a.text.WriteByte('{')
	} else {
		a.text.WriteByte(',')
	}
	switch v := value.(type) {
	case nil:
		a.text.WriteString("NULL")
	case int64:
		var digits [20]byte
		a.text.Write(strconv.AppendInt(digits[:0], v, 10))
	case string:
		a.text.WriteByte('"')
		for {
			i := strings.IndexAny(v, `"\`)
			if i < 0 {
				break
			}
			a.text.WriteString(v[:i])
			a.text.WriteByte('\\')
			a.text.WriteByte(v[i])
			v = v[i+1:]
		}
		a.text.WriteString(v)
		a.text.WriteByte('"')
	default:
		panic(fmt.Sprintf("a row has a %T", value))
	}
}

// literal ends the array.
func (a *array) literal() string {
	if a.text.Len() == 0 {
		return "{}"
	}
	a.text.WriteByte('}')
	return a.text.String()
}
