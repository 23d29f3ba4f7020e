package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// claimLoop claims the runs without a queue that are known to wait as soon as there are slots, and looks for others once in a pause.
func (w *worker) claimLoop(ctx context.Context) {
	pause, look := w.config.PollInterval, time.Now()
	var marks marks
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(look) {
			look = now.Add(jittered(pause))
			w.look()
		}
		n := w.slotsForClaim()
		if n == 0 {
			write.Wait(ctx, w.wake, time.Until(look))
			continue
		}
		pause = w.rest(ctx, "claim runs", pause, w.claim(ctx, &marks, n))
	}
}

// rest waits for a pause if a claim has failed, and returns the next one, which is longer.
func (w *worker) rest(ctx context.Context, op string, pause time.Duration, err error) time.Duration {
	if err == nil {
		return w.poll()
	}
	if ctx.Err() == nil && !errors.Is(err, errCannotClaim) {
		w.trouble(op, err)
		pause = min(2*pause, 20*w.config.PollInterval, maxClaimPause)
	}
	write.Wait(ctx, nil, jittered(min(pause, maxClaimPause)))
	return pause
}

// maxClaimPause bounds the pause after claims that failed, however rarely a worker that is well would poll.
const maxClaimPause = 10 * time.Second

// look makes the next claim one for runs that this process does not know of.
func (w *worker) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots.toLook()
}

func (w *worker) slotsForClaim() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots.forClaim()
}

// errCannotClaim is a worker without a lease, or without a workflow.
var errCannotClaim = errors.New("cannot claim")

// claim claims runs into slots that were taken for them, executes them, and gives back the slots that are left.
func (w *worker) claim(ctx context.Context, marks *marks, n int) error {
	used := 0
	defer func() { w.returnSlots(n - used) }()
	lease, id := w.lease.current()
	names := w.engine.known()
	if id == "" || len(names) == 0 {
		return errCannotClaim
	}
	if w.lookBehind(runClaims) {
		marks.lookAtAll()
	}
	before, suspects := w.claiming(runClaims)
	defer w.claimed(runClaims)
	asked := marks.ask(names, time.Now())

	sent := time.Now()
	// Not cut short by the end of ctx: if nobody hears the answer to a claim, nobody hands its runs back.
	found, err := w.store.Claim(context.WithoutCancel(ctx), store.ClaimRequest{Worker: id, Marks: asked.from, Limit: n, Suspects: suspects})
	now, fleet := time.Now(), int(w.fleet.Load())
	if err != nil {
		marks.failed(asked, now.Sub(sent), now, fleet)
		return err
	}
	marks.looked(asked, found.Took, now, fleet) // without the wait for a connection, which may be long
	marks.saw(asked, n, found)
	w.mu.Lock()
	w.slots.claimed(before, n, len(found.Runs))
	w.mu.Unlock()

	used = w.begin(ctx, lease, found.Runs)
	return nil
}

// begin loads and executes runs that were claimed, and returns how many slots they use. A history that is slow to load holds up nobody:
// what needs none begins first, and what could not be loaded before comes last.
func (w *worker) begin(ctx, lease context.Context, claimed []store.ClaimedRun) (used int) {
	ctx = context.WithoutCancel(ctx)
	for _, runs := range byHistory(claimed) {
		histories, runs := w.load(ctx, lease, runs)
		for _, c := range runs {
			hold := write.NewHold()
			if c.Suspect() && !w.holdSuspect(hold) { // a claim brings one at most, but there are two that claim
				w.release(c.Owned, c.Queue, 0)
				continue
			}
			used++
			w.execute(lease, hold, c, histories[c.RunID], func() { w.give(1) })
		}
	}
	return used
}

// byHistory parts claimed runs by what loading them may cost: those without steps, those with steps, and each that was blocked.
func byHistory(claimed []store.ClaimedRun) [][]store.ClaimedRun {
	parts := make([][]store.ClaimedRun, 2, 3)
	for _, c := range claimed {
		switch {
		case c.Blocked():
			parts = append(parts, []store.ClaimedRun{c})
		case c.Begun:
			parts[1] = append(parts[1], c)
		default:
			parts[0] = append(parts[0], c)
		}
	}
	return parts
}

// holdSuspect takes the place of the one suspect that is executed here, and reports whether it was free.
func (w *worker) holdSuspect(hold *write.Hold) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.suspect != nil {
		return false
	}
	w.suspect = hold
	return true
}

// reserveSuspect is holdSuspect for a run that is to be claimed, unless the place is taken.
func (w *worker) reserveSuspect(hold *write.Hold) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.suspect != nil {
		return false
	}
	w.suspect = hold
	return true
}

func (w *worker) leaveSuspect(hold *write.Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.suspect == hold {
		w.suspect, w.behind = nil, [claimKinds]bool{true, true}
		w.slots.hint()
		w.hintQueues()
	}
}

// load reads the histories of claimed runs. It is a later statement than the claim, which sees what owners before have written. When
// that fails, each run is loaded by itself: the one whose history cannot be read is blocked, and the others go on.
func (w *worker) load(ctx, lease context.Context, claimed []store.ClaimedRun) (map[string]store.History, []store.ClaimedRun) {
	var begun []store.ClaimedRun
	for _, c := range claimed {
		if c.Begun {
			begun = append(begun, c)
		}
	}
	if begun == nil {
		return nil, claimed
	}
	histories, err := w.store.Load(ctx, begun)
	if err == nil {
		return histories, claimed
	}
	histories = make(map[string]store.History)
	kept := claimed[:0]
	for _, c := range claimed {
		if c.Begun {
			var own map[string]store.History
			if len(begun) > 1 {
				own, err = w.store.Load(ctx, []store.ClaimedRun{c})
			}
			if err != nil {
				w.cannotLoad(lease, c, err)
				continue
			}
			histories[c.RunID] = own[c.RunID]
		}
		kept = append(kept, c)
	}
	return histories, kept
}

// cannotLoad blocks a run, beside the claims that go on meanwhile.
func (w *worker) cannotLoad(lease context.Context, c store.ClaimedRun, cause error) {
	problem := store.NewError(fmt.Errorf("its steps cannot be loaded: %w", cause)).Reduced()
	problem.Code = "history"
	w.functions.Go(func() {
		run.Block(lease, w.env, c, problem)
		w.left(c.Queue)
	})
}

// returnSlots gives back what the claim loop took and did not need; it looks at them itself.
func (w *worker) returnSlots(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots.give(n)
	if w.slots.queues && w.slots.free > 0 {
		w.nudgeQueues()
	}
}

// Who claims: each sends one claim after another.
const (
	runClaims   = iota // of runs without a queue
	queueClaims        // of queues
	claimKinds
)

// claimCounts counts, of each that claims, the claims that were sent, and those of which all that they brought is held.
type claimCounts [claimKinds]struct{ sent, done int }

// doneSince reports whether all claims are done that had been sent at a time.
func (c *claimCounts) doneSince(then claimCounts) bool {
	for kind := range c {
		if c[kind].done < then[kind].sent {
			return false
		}
	}
	return true
}

// claiming counts a claim that is sent, and returns what was known before, and whether it may bring a suspect.
func (w *worker) claiming(kind int) (before slots, suspects bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims[kind].sent++
	return w.slots, w.suspect == nil
}

func (w *worker) claimed(kind int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims[kind].done++
}

func (w *worker) claimsSoFar() claimCounts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.claims
}

// lookBehind reports whether since it was last asked something has happened that leaves runs behind the marks: a suspect has left, and
// others wait for its place; or a worker has gone, perhaps in the middle of a claim.
func (w *worker) lookBehind(kind int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := w.behind[kind]
	w.behind[kind] = false
	return behind
}
