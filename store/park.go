package store

import (
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// SuspendReason says what a suspended run waits for.
type SuspendReason string

// The reasons of a suspension.
const (
	ForTime     SuspendReason = "time"     // its run_at
	ForSignal   SuspendReason = "signal"   // a signal
	ForChildren SuspendReason = "children" // runs that it has started
	ForHand     SuspendReason = "by_hand"  // somebody moved it there by the state API, and will move it on
	ForBlocked  SuspendReason = "blocked"  // it cannot go on as things are: its error says why, and it is tried again
)

// Park is an owned run that begins to wait, and has no owner while it does.
type Park struct {
	Owned
	WakeIn   *time.Duration // until it is to go on; its deadline if that is sooner; nil: only when something comes, or at the deadline
	For      SuspendReason
	WaitsFor []string // what makes it go on besides: see WaitsForSignal and WaitsForStep
	WakeSeq  int64    // as the owner knows it; when it has moved, the outcome is Woken
}

func (*Park) kind() int { return parkKind }
func (*Park) size() int { return 0 }
func (p *Park) fill(row *fields) {
	row.text(p.RunID)
	row.number(p.Epoch)
	row.duration(p.WakeIn)
	row.textOrNull(string(p.For))
	row.number(p.WakeSeq)
	if len(p.WaitsFor) == 0 {
		row.null()
		return
	}
	row.text(pg.Texts(p.WaitsFor))
}
