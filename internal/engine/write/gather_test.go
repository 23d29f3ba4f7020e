package write

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
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
	const callers, each = 16, 60
	if got := statementsOf(t, callers, each, func() {}); got > each*5/4 {
		t.Errorf("%d statements for %d rows of each of %d callers", got, each, callers)
	}
}

// The same on two processors, of which the one finds the sender while the other has all who were told: it yields in vain then, until they
// come. With a little to do before each row, as runs have it. Nobody promises when a processor is ours: the best of some tries counts.
func TestRowsGoTogetherThoughProcessorsAreIdle(t *testing.T) { //nolint:paralleltest // it sets GOMAXPROCS
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const each, tries = 60, 20
	for _, callers := range []int{2, 16} {
		least := callers * each
		for try := 0; try < tries && least > each*5/4; try++ {
			least = min(least, statementsOf(t, callers, each, func() {
				for began := time.Now(); time.Since(began) < 10*time.Microsecond; {
				}
			}))
		}
		if least > each*5/4 {
			t.Errorf("at least %d statements for %d rows of each of %d callers", least, each, callers)
		}
	}
}

// Where the clock stands still until all goroutines wait, the sender comes to an end all the same.
func TestSenderGivesWayOnAClockThatStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) { new(Writer).giveWay(2) })
}

// statementsOf counts what is sent for rows that callers write at the same time, each after work.
func statementsOf(t *testing.T, callers, each int, work func()) int {
	t.Helper()
	db, counter, err := counting.Open("pgx", pgtest.New(t).AccessURL(t, pgtest.PGX))
	kit.Must(t, err)
	defer func() { kit.Must(t, db.Close()) }()
	w := NewWriter(store.New(db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: time.Minute}), time.Minute)
	for _, err := range kit.Together(callers, func(caller int) error {
		for i := range each {
			work()
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
	return counter.Take().Statements
}
