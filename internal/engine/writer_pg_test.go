package engine

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A row with a value that the server refuses fails its own caller, wherever it stands in the batch; one that exists is not
// written; the others are.
func TestRefusedRowIsSplitOut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, owner, epoch)
		VALUES ('r', 'w', 'running', '1', 1, 1, 'me', 1)`); err != nil {
		t.Fatal(err)
	}
	w := &writer{store: store.New(db, store.Options{Schema: "workflows", Timeout: time.Minute})}
	const rows = 5
	for bad := range rows - 1 {
		again := bad + 1
		for n := range rows {
			c := store.Checkpoint{Owned: store.Owned{RunID: "r", Epoch: 1}, Result: json.RawMessage("1")}
			c.Name = string(rune('a'+bad)) + string(rune('0'+n))
			if n == bad {
				c.Result = json.RawMessage(`"\u0000"`)
			}
			if n == again {
				if written, err := w.store.Write(t.Context(), []store.Write{c}); err != nil || !written[0] {
					t.Fatal(written, err)
				}
			}
			w.gather(c)
		}
		batch := w.next()
		w.send(batch)
		for n, p := range batch {
			<-p.done
			if n == bad && !store.IsRejected(p.err) || n != bad && p.err != nil || p.written != (n != bad && n != again) {
				t.Errorf("row %d, where %d is refused and %d exists: written %t, %v", n, bad, again, p.written, p.err)
			}
		}
	}
	var written int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM workflows.workflow_steps").Scan(&written); err != nil || written != (rows-1)*(rows-1) {
		t.Errorf("%d rows, %v; want %d", written, err, (rows-1)*(rows-1))
	}
}
