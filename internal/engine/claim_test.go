package engine

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/engine/write"
)

// What a claim may be about to bring is not released, whoever of those that claim has sent it, and however many others have since.
func TestClaimsDoneSince(t *testing.T) {
	t.Parallel()
	w := idleWorker(0)
	w.claiming(runClaims)
	w.claiming(queueClaims)
	then := w.claimsSoFar()
	done := func() bool { now := w.claimsSoFar(); return now.doneSince(then) }
	for range 5 { // the other one goes on
		w.claimed(queueClaims)
		w.claiming(queueClaims)
	}
	if done() {
		t.Error("a claim of runs is under way that was sent before")
	}
	w.claimed(runClaims)
	if !done() {
		t.Error("all that were sent before are done")
	}
}

// Of two suspects that both of those that claim have brought at the same time, one is held. When it leaves, both look at all again.
func TestOneSuspectIsHeld(t *testing.T) {
	t.Parallel()
	w := idleWorker(0)
	w.wakeQueues = make(chan struct{}, 1)
	w.agenda.used = true
	first, second := write.NewHold(), write.NewHold()
	if !w.holdSuspect(first) || w.holdSuspect(second) {
		t.Fatal("not one of the two")
	}
	if _, suspects := w.claiming(queueClaims); suspects {
		t.Error("a claim may bring a suspect while one is held")
	}
	w.leaveSuspect(second)
	if w.lookBehind(runClaims) {
		t.Error("one has left that was not held")
	}
	w.leaveSuspect(first)
	for kind := range claimKinds {
		if !w.lookBehind(kind) || w.lookBehind(kind) {
			t.Errorf("%d is not told once", kind)
		}
	}
	if !w.holdSuspect(second) {
		t.Error("the place is not free")
	}
}
