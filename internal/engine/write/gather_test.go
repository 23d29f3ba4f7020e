package write

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Those whose rows were written together write their next ones together: none goes alone, ahead of the others. On one processor, so that it is
// certain who runs when; it is not parallel for that.
func TestRowsThatFollowEachOtherGoTogether(t *testing.T) { //nolint:paralleltest // see above
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	db, counter, err := counting.Open("pgx", pgtest.New(t).AccessURL(t, pgtest.PGX))
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	w := NewWriter(store.New(db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: time.Minute}), time.Minute)
	const callers, each = 16, 60
	for _, err := range kit.Together(callers, func(caller int) error {
		for i := range each {
			row := store.NewRun{ID: fmt.Sprint(caller, "-", i), Workflow: "w", Input: json.RawMessage("1")}
			if outcome, err := w.Write(t.Context(), row); err != nil || outcome != store.Written {
				return fmt.Errorf("%v, %w", outcome, err)
			}
		}
		return nil
	}) {
		kit.Must(t, err)
	}
	w.Close()
	if got := counter.Take().Statements; got > each*5/4 {
		t.Errorf("%d statements for %d rows of each of %d callers", got, each, callers)
	}
}
