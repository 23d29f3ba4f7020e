package engine

import (
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// marks are low-water marks of claims. The index entries of claimed runs stay for as long as any snapshot is older than the
// claim, and a poll that begins at the oldest entry walks all of them. So most polls begin at a mark: where the last one
// ended. A run may still appear before the mark, when the transaction that created it commits late. A full look finds that one;
// such looks take their share of the time and no more. The same goes for a run that somebody had locked while the marks passed it: a claim
// that came to nothing, of a worker that died or was cut off, leaves a whole batch behind them. One that finds more behind the marks than
// it has room for takes the marks back there. Pure: no clock, no lock; the claim loop alone has it.
type marks struct {
	at   map[string]int64 // by workflow, Unix milliseconds of the database
	next time.Time        // of the full look
}

const (
	// markSlack is how far the marks stay behind a poll, for runs that were stamped before it and commit after it.
	markSlack = 5 * time.Second
	// fullShare bounds the part of the time that full looks of the whole fleet take: one in so many.
	fullShare = 100
	// maxFullPause bounds how long a run that appeared before the marks waits, even if a full look took long only because it
	// waited for a connection.
	maxFullPause = 5 * time.Minute
	// maxFailedPause bounds it after a full look that failed: how long that took says how bad things are, and not how much is walked.
	maxFailedPause = 20 * time.Second
)

// A look is where a claim begins, by workflow. A full one begins at 0 for all of them.
type look struct {
	from map[string]int64
	full bool
}

// ask returns where the next claim begins.
func (m *marks) ask(workflows []string, now time.Time) look {
	l := look{from: make(map[string]int64, len(workflows)), full: !now.Before(m.next)}
	for _, name := range workflows {
		l.from[name] = 0
		if !l.full {
			l.from[name] = m.at[name]
		}
	}
	return l
}

// lookAtAll makes the next look a full one.
func (m *marks) lookAtAll() { m.next = time.Time{} }

// looked notes how long a look took, in a fleet of so many workers.
func (m *marks) looked(l look, took time.Duration, now time.Time, workers int) {
	if l.full {
		m.next = now.Add(min(time.Duration(fullShare*max(workers, 1))*took, maxFullPause))
	}
}

// failed notes that nothing came of a look but an error, after so long.
func (m *marks) failed(l look, took time.Duration, now time.Time, workers int) {
	m.looked(l, min(took, maxFailedPause/time.Duration(fullShare*max(workers, 1))), now, workers)
}

// saw notes what a look for up to limit runs found.
func (m *marks) saw(l look, limit int, found store.Claim) {
	if m.at == nil {
		m.at = make(map[string]int64)
	}
	nearest := found.Now - markSlack.Milliseconds()
	passed := slices.ContainsFunc(found.Runs, store.ClaimedRun.Suspect) // others may have been passed over for it
	switch {
	case len(found.Runs) >= limit && l.full: // more may wait behind the marks: the next look goes on where this one ends
		for name := range l.from {
			m.at[name] = 0
		}
	case len(found.Runs) < limit && !passed: // nobody older waits
		for name := range l.from {
			m.at[name] = max(m.at[name], nearest)
		}
	}
	for i := range found.Runs { // a backlog is walked from its oldest entry on; more of it may have the same time
		run := &found.Runs[i]
		m.at[run.Workflow] = max(m.at[run.Workflow], min(run.RunAt-1, nearest))
	}
}
