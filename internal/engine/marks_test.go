package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/store"
)

func TestMarks(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	at := func(ms int64, runs ...store.ClaimedRun) store.Claim { return store.Claim{Now: ms, Runs: runs} }
	due := func(workflow string, runAt int64) store.ClaimedRun {
		return store.ClaimedRun{Workflow: workflow, RunAt: runAt}
	}
	const slack = 5_000
	var m marks
	ask := func(wantFull bool, want map[string]int64) look {
		t.Helper()
		l := m.ask([]string{"a", "b"}, now)
		if l.full != wantFull || !cmp.Equal(l.from, want) {
			t.Errorf("asks from %v, full %t; want %v, %t", l.from, l.full, want, wantFull)
		}
		return l
	}

	// The first look is a full one. It costs its hundredth for each worker of the fleet until the next.
	asked := ask(true, map[string]int64{"a": 0, "b": 0})
	m.looked(asked, 2*time.Millisecond, now, 3)
	m.saw(asked, 10, at(100_000))
	asked = ask(false, map[string]int64{"a": 100_000 - slack, "b": 100_000 - slack})

	// A backlog of one workflow moves its mark, not that of another. It stays behind the last run that was claimed: others may have
	// the same time.
	m.saw(asked, 2, at(110_000, due("a", 98_000), due("a", 99_000)))
	asked = ask(false, map[string]int64{"a": 98_999, "b": 95_000})

	// No mark comes nearer to now than the slack, nor goes back.
	m.saw(asked, 2, at(120_000, due("a", 119_000), due("b", 94_000)))
	ask(false, map[string]int64{"a": 120_000 - slack, "b": 95_000})

	now = now.Add(600 * time.Millisecond)
	asked = ask(true, map[string]int64{"a": 0, "b": 0})

	// A full look that was filled leaves no workflow's runs behind: the next one goes on where it ended, or at the beginning.
	m.looked(asked, time.Millisecond, now, 1)
	m.saw(look{from: map[string]int64{"a": 0, "b": 0}, full: true}, 2, at(130_000, due("b", 1_000), due("b", 2_000)))
	asked = ask(false, map[string]int64{"a": 0, "b": 1_999})
	m.saw(asked, 2, at(131_000, due("b", 3_000)))
	ask(false, map[string]int64{"a": 131_000 - slack, "b": 131_000 - slack})
	now = now.Add(time.Second)

	// How long a full look took that failed says little.
	m.failed(ask(true, map[string]int64{"a": 0, "b": 0}), time.Minute, now, 20)
	now = now.Add(maxFailedPause)
	ask(true, map[string]int64{"a": 0, "b": 0})

	// A full look that waited for a connection does not put off the next one for hours; one that failed counts as well.
	m.looked(look{full: true}, time.Minute, now, 20)
	now = now.Add(maxFullPause)
	ask(true, map[string]int64{"a": 0, "b": 0})
}
