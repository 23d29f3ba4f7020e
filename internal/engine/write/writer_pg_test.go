package write

import (
	"context"
	"encoding/json"
	"errors"
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
	w := NewWriter(store.New(db, store.Options{Schema: "workflows"}), time.Minute)
	const rows = 5
	for bad := range rows - 1 {
		again := bad + 1
		for n := range rows {
			c := &store.Checkpoint{Owned: store.Owned{RunID: "r", Epoch: 1}, Result: json.RawMessage("1")}
			c.Name = string(rune('a'+bad)) + string(rune('0'+n))
			if n == bad {
				c.Result = json.RawMessage(`"\u0000"`)
			}
			if n == again {
				if outcome, err := w.Alone(t.Context(), c); err != nil || outcome != store.Written {
					t.Fatal(outcome, err)
				}
			}
			w.gather(c)
		}
		batch := w.next()
		w.send(batch)
		for n, p := range batch {
			<-p.told
			want := store.Written
			switch n {
			case bad:
				want = store.Lost
			case again:
				want = store.Exists
			}
			if n == bad != store.IsPermanent(p.err) || p.outcome != want {
				t.Errorf("row %d, where %d is refused and %d exists: %s, %v", n, bad, again, p.outcome, p.err)
			}
		}
	}
	var written int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM workflows.workflow_steps").Scan(&written); err != nil || written != (rows-1)*(rows-1) {
		t.Errorf("%d rows, %v; want %d", written, err, (rows-1)*(rows-1))
	}
}

// A statement that does not return in time is left behind: its callers are told, and those after them are served.
func TestStatementIsLeftBehind(t *testing.T) {
	t.Parallel()
	ctx := context.WithoutCancel(t.Context())
	db := pgtest.New(t).Open(t, pgtest.PGX)
	lock, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(ctx, "LOCK TABLE workflows.workflow_runs"); err != nil {
		t.Fatal(err)
	}
	const timeout = 300 * time.Millisecond
	w := NewWriter(store.New(db, store.Options{Schema: "workflows"}), timeout)
	start := func(id string) (store.Outcome, error) {
		return w.Write(ctx, store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1")})
	}

	if outcome, err := start("a"); !errors.Is(err, store.ErrTimeout) {
		t.Errorf("behind a lock: %s, %v", outcome, err)
	}
	second := make(chan error, 1)
	go func() {
		outcome, err := start("b")
		if err == nil && outcome != store.Written {
			err = errors.New("not written")
		}
		second <- err
	}()
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Errorf("after the lock: %v", err)
	}
	w.Close()
	if w.sending != 0 || len(w.waiting) > 0 {
		t.Error("something is still under way")
	}
}
