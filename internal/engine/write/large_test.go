package write

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

func startOf(id string, size int) store.NewRun {
	return store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)}
}

// Large rows go alone and leave the batches their connections, and small ones pass them by: while as many of them as may be are
// stuck, small ones are written.
func TestLargeRowsHoldNothingUp(t *testing.T) {
	t.Parallel()
	for conns, most := range map[int]int{0: maxCarrying, 3: 1, 6: 4} {
		t.Run(fmt.Sprint(conns, " connections"), func(t *testing.T) {
			t.Parallel()
			d := pgtest.New(t)
			watch := d.Open(t, pgtest.PGX)
			kit.Exec(t, watch, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
				'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN new; END'`)
			kit.Exec(t, watch, fmt.Sprintf(`CREATE TRIGGER hold BEFORE INSERT ON workflows.workflow_runs FOR EACH ROW
				WHEN (length(new.input::text) >= %d) EXECUTE FUNCTION hold()`, largeFrom))
			db, counter, err := counting.Open("pgx", d.AccessURL(t, pgtest.PGX))
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, db.Close()) })
			db.SetMaxOpenConns(conns)
			w := NewWriter(store.New(db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: time.Minute}), time.Minute)
			write := func(row store.NewRun) error {
				outcome, err := w.Write(context.WithoutCancel(t.Context()), row)
				if err == nil && outcome != store.Written {
					return fmt.Errorf("%s: %v", row.ID, outcome)
				}
				return err
			}
			stuck := func() int {
				return kit.One[int](t, watch, `SELECT count(*) FROM pg_stat_activity
					WHERE wait_event = 'advisory' AND datname = current_database()`)
			}

			lock := kit.Begin(t, watch)
			kit.Exec(t, lock, "SELECT pg_advisory_xact_lock(7)")
			large := most + 4
			all := kit.Go(t, func() []error {
				return kit.Together(large, func(i int) error { return write(startOf(fmt.Sprint("large ", i), largeFrom)) })
			})
			kit.Until(t, "as many large rows as may are under way", func() bool { return stuck() == most })
			kit.Must(t, write(startOf("small", largeFrom-1)))
			if got := stuck(); got != most {
				t.Errorf("%d large rows are under way, want %d", got, most)
			}
			kit.Must(t, lock.Rollback())
			for _, err := range kit.Receive(t, "the large rows", all) {
				kit.Must(t, err)
			}
			if counts, texts := counter.TakeTexts(); counts.Statements != large+1 {
				t.Errorf("%d statements for %d rows, want one for each: %.80q", counts.Statements, large+1, texts)
			}
			w.Close()
			if w.carrying != 0 || w.carriedBytes != 0 || w.large != nil || w.waitingBytes != 0 {
				t.Error("something is still under way")
			}
		})
	}
}

// Large rows are bounded in bytes, and one that is larger than the bound goes when no other does.
func TestLargeRowsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	const half, most = maxCarriedBytes / 2, 4
	w := new(Writer) // whose sending is played by the test
	for _, size := range []int{half, half, 1, maxCarriedBytes + 1, 1, 2, 3, 4, 5} {
		w.large = append(w.large, newPending(&store.Checkpoint{Result: make(json.RawMessage, size)}))
	}
	var carried []int
	for _, want := range [][]int{{half, half}, {half, 1}, {1}, {maxCarriedBytes + 1}, {1, 2, 3, 4}, {2, 3, 4, 5}, {3, 4, 5}} {
		for p := w.nextLarge(most); p != nil; p = w.nextLarge(most) {
			carried = append(carried, store.Size(p.row))
		}
		if !slices.Equal(carried, want) {
			t.Fatalf("rows of %v bytes are under way, want %v", carried, want)
		}
		w.carrying-- // the oldest is written
		w.carriedBytes -= carried[0]
		carried = carried[1:]
	}
}

// When much waits behind a statement, a few rows with payloads of some size are enough for a second one beside it.
func TestMuchThatWaitsGoesBeside(t *testing.T) {
	t.Parallel()
	d := pgtest.New(t)
	db := d.Open(t, pgtest.PGX)
	kit.Exec(t, db, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN new; END'`)
	kit.Exec(t, db, `CREATE TRIGGER hold BEFORE INSERT ON workflows.workflow_runs FOR EACH ROW
		WHEN (new.id = 'stuck') EXECUTE FUNCTION hold()`)
	w := NewWriter(store.New(db, store.Options{Schema: "workflows", Timeout: time.Minute}), time.Minute)
	write := func(row store.NewRun) error {
		_, err := w.Write(context.WithoutCancel(t.Context()), row)
		return err
	}
	lock := kit.Begin(t, db)
	kit.Exec(t, lock, "SELECT pg_advisory_xact_lock(7)")
	stuck := kit.Go(t, func() error { return write(startOf("stuck", 10)) })
	kit.Until(t, "the first statement is under way", func() bool {
		return kit.One[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()") == 1
	})
	const size = largeFrom - 1
	others := kit.Go(t, func() []error {
		return kit.Together((secondBytes+size-1)/size, func(i int) error { return write(startOf(fmt.Sprint("other ", i), size)) })
	})
	for _, err := range kit.Receive(t, "the rows beside it", others) {
		kit.Must(t, err)
	}
	kit.Must(t, lock.Rollback())
	kit.Must(t, kit.Receive(t, "the first row", stuck))
	w.Close()
	if w.sending != 0 || w.waitingBytes != 0 {
		t.Errorf("%d statements are under way, %d bytes wait", w.sending, w.waitingBytes)
	}
}
