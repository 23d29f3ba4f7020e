package engine

import (
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// marks are low-water marks of claims. The index entries of claimed runs stay for as long as any snapshot is older than the
// claim, and a poll that begins at the oldest entry walks all of them. So most polls begin at a mark: where the last one
// ended. A run may still appear before the mark, when the transaction that created it commits late. A full look finds that one;
// such looks take their share of the time and no more. Pure: no clock, no lock; the claim loop alone has it.
type marks struct {
	at   map[string]int64 // by workflow, Unix milliseconds of the database
	next time.Time        // of the full look
}

const (
	// markSlack is how far the marks stay behind a poll, for runs that were stamped before it and commit after it.
	markSlack = 5 * time.Second
	// fullShare bounds the part of the time that full looks of the whole fleet take: one in so many.
	fullShare = 100
)

// ask returns where the next claim begins for each workflow; 0 is everything, as it is for all of them in a full look.
func (m *marks) ask(workflows []string, now time.Time) (from map[string]int64, full bool) {
	full = !now.Before(m.next)
	from = make(map[string]int64, len(workflows))
	for _, name := range workflows {
		from[name] = 0
		if !full {
			from[name] = m.at[name]
		}
	}
	return from, full
}

// saw notes a claim's answer: of a fleet of so many workers, asked for limit runs from some marks on, after it took so long.
func (m *marks) saw(from map[string]int64, full bool, limit int, found store.Claim, took time.Duration, now time.Time, workers int) {
	if m.at == nil {
		m.at = make(map[string]int64)
	}
	for name := range from {
		if len(found.Runs) < limit { // nobody older waits
			m.at[name] = max(m.at[name], found.Now-markSlack.Milliseconds())
		}
	}
	for i := range found.Runs { // a backlog is walked from its oldest entry on
		run := &found.Runs[i]
		m.at[run.Workflow] = max(m.at[run.Workflow], min(run.RunAt, found.Now-markSlack.Milliseconds()))
	}
	if full {
		m.next = now.Add(time.Duration(fullShare*max(workers, 1)) * took)
	}
}
