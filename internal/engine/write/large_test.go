package write

import (
	"context"
	"encoding/json"
	"fmt"
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

// Large rows go alone, a few at a time and on no more than half of the pool, and small ones pass them by: while all of them are stuck,
// small ones are written.
func TestLargeRowsHoldNothingUp(t *testing.T) {
	t.Parallel()
	for conns, most := range map[int]int{0: maxCarrying, 2: 1, 6: 3} {
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
			const large = 12
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
			if w.carrying != 0 || w.large != nil {
				t.Error("something is still under way")
			}
		})
	}
}
