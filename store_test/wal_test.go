package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A checkpoint writes hardly more WAL than the bare INSERT of its row, and a row among others less.
func TestWALOfACheckpoint(t *testing.T) {
	b := on(t, pgtest.Alone(t), pgtest.PGX)
	st := writer(t, b)
	id := b.ownedRun(t)
	result := json.RawMessage(`"` + strings.Repeat("x", 100) + `"`)
	least := func(do func(n int)) float64 { return b.leastWritten(t, 30, do) }
	step := func(name string, n int) store.Write {
		return &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: fmt.Sprintf("%s%03d", name, n), Result: result}
	}
	write := func(rows ...store.Write) {
		_, err := st.Write(t.Context(), rows)
		kit.Must(t, err)
	}

	bare := least(func(n int) {
		_, err := b.db.ExecContext(t.Context(), `
			INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at)
			VALUES ($1, $2, 'succeeded', $3, 1)`, id, fmt.Sprintf("bare%03d", n), string(result))
		kit.Must(t, err)
	})
	alone := least(func(n int) { write(step("step", n)) })
	const many = 20
	among := least(func(n int) {
		var rows []store.Write
		for i := range many {
			rows = append(rows, step(fmt.Sprint("g", i, "-"), n))
		}
		write(rows...)
	}) / many
	t.Logf("bytes of WAL: bare INSERT %.0f, checkpoint alone %.0f, among %d %.0f", bare, alone, many, among)
	if alone > 1.25*bare {
		t.Errorf("a checkpoint alone writes %.0f bytes of WAL, more than 1.25 times the %.0f of a bare INSERT", alone, bare)
	}
	if among > bare {
		t.Errorf("a checkpoint among %d writes %.0f bytes of WAL, more than the %.0f of a bare INSERT", many, among, bare)
	}
}

// A run of ten steps writes at most 6 % more WAL than one without a place in the order and a start of each step did: 6,120 bytes
// alone and 5,173 among twenty (PostgreSQL 15, results of 100 bytes).
func TestWALOfARun(t *testing.T) {
	b := on(t, pgtest.Alone(t), pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, LockTimeout: kit.Patience})
	worker(t, st, "me")
	result := json.RawMessage(`"` + strings.Repeat("x", 100) + `"`)
	written := func(rows []store.Write) float64 {
		return b.written(t, func() {
			outcomes, err := st.Write(t.Context(), rows)
			kit.Must(t, err)
			for i, outcome := range outcomes {
				if outcome != store.Written {
					t.Fatalf("%T: %v", rows[i], outcome)
				}
			}
		})
	}
	for _, test := range []struct {
		many   int
		before float64
	}{{1, 6120}, {20, 5173}} { // in this order: how full pages are counts too
		many, before := test.many, test.before
		// Some split a page.
		start, steps, end := math.MaxFloat64, math.MaxFloat64, math.MaxFloat64
		for n := range 40 {
			runs := make([]store.Owned, many)
			rows := make([]store.Write, many)
			for i := range runs {
				runs[i] = store.Owned{RunID: fmt.Sprintf("01a214c5-5d26-78eb-%04d-%06d%06d", many, n, i), Epoch: 1}
				rows[i] = store.NewRun{ID: runs[i].RunID, Workflow: "order", Input: result, Owner: "me"}
			}
			start = min(start, written(rows))
			for k := 1; k <= 10; k++ {
				for i, run := range runs {
					rows[i] = &store.Checkpoint{Owned: run, Name: fmt.Sprint("step", k), Seq: k, Took: 5 * time.Millisecond, Result: result}
				}
				steps = min(steps, written(rows))
			}
			for i, run := range runs {
				rows[i] = &store.End{Owned: run, Status: store.RunCompleted, Output: result}
			}
			end = min(end, written(rows))
		}
		got := (start + 10*steps + end) / float64(many)
		t.Logf("among %d: start %.0f, step %.0f, end %.0f, run %.0f bytes (%+.1f %%)", many, start/float64(many), steps/float64(many),
			end/float64(many), got, 100*(got/before-1))
		if got > 1.06*before {
			t.Errorf("a run among %d writes %.0f bytes of WAL, more than 1.06 times %.0f", many, got, before)
		}
	}
}
