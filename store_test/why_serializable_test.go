package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A SERIALIZABLE transaction that fails where it is asked why a row was not written (somebody holds the run) is a serialization failure, after
// which the step runs again: no misuse by its function.
func TestSerializationFailureOfTheQuestionWhy(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		kit.Exec(t, b.side, `CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)`)
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at) VALUES ($1, 's', 'pending', 'step', 1, 1)`, id)
		release := b.holdRow(t, id)
		calls := 0
		_, err := st.CheckpointTx(t.Context(), &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "s"}, sql.LevelSerializable,
			func(_ context.Context, tx *sql.Tx) (json.RawMessage, error) {
				if calls++; calls > 1 {
					release()
					return json.RawMessage("1"), nil
				}
				kit.Exec(t, tx, `UPDATE numbers SET n = 2`)
				// One that reads what this writes, and one that writes what the question reads: this stands between them.
				reader := kit.Begin(t, b.side, sql.LevelSerializable)
				t.Cleanup(func() { _ = reader.Rollback() })
				kit.One[int](t, reader, `SELECT n FROM numbers`)
				other := kit.Begin(t, b.side, sql.LevelSerializable)
				kit.Exec(t, other, `UPDATE workflows.workflow_steps SET updated_at = 2 WHERE run_id = $1`, id)
				kit.Must(t, other.Commit())
				return json.RawMessage("1"), nil
			})
		kit.Must(t, err)
		if calls != 2 {
			t.Errorf("the function was called %d times, want twice", calls)
		}
	})
}
