package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A checkpoint writes hardly more WAL than the bare INSERT of its row, and a row among others less.
func TestWALOfACheckpoint(t *testing.T) {
	b := setup(t, pgtest.PGX)
	st := writer(t, b)
	id := b.ownedRun(t)
	result := json.RawMessage(`"` + strings.Repeat("x", 100) + `"`)
	// Other tests write to the server's log at the same time: the least of many is nobody else's.
	least := func(do func(n int)) float64 {
		bytes := math.MaxFloat64
		const position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8"
		for n := range 300 {
			before := kit.One[float64](t, b.side, position)
			do(n)
			bytes = min(bytes, kit.One[float64](t, b.side, position)-before)
		}
		return bytes
	}
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
