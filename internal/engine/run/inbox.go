package run

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// What a run is woken by, as the column waits_for has it.
const (
	signalCause = "signal:"
	stepCause   = "step:"
)

// inboxLimit is how many signals of one name a look brings at most.
const inboxLimit = store.InboxLimit

// An inbox is what has come for a run, as far as it was looked for: signals that no step has taken, and steps whose wait is over.
// Everything that comes raises the run's wake_seq, so what was decided at one value of it holds for as long as that value does.
// Each look is for all open waits together; the run's mu guards the fields.
type inbox struct {
	seen    int64 // the run's wake_seq at the last look
	dirty   bool  // something may be there that was not looked for
	looking bool
	loaded  []string // causes for which there was a look when the run was loaded, until the next look, which may not be for them

	unread   map[string][]store.Signal // by name, oldest first
	after    map[string]int64          // the newest signal that was looked at, by name
	taken    map[int64]bool            // by steps, by seq
	arrived  map[string]*arrival       // by key of the step
	until    map[string]time.Time      // when a scheduled step is no longer waited for, by its key
	children map[string]int            // awaited children that are not known to have ended, by key of the step
}

// An arrival is a scheduled step whose wait is over: its children have ended, or somebody has completed it from outside.
type arrival struct {
	step     *record
	children []store.Run
}

// expect says that a wait begins. A look that is under way does not ask for it.
func (in *inbox) expect(causes []string) {
	known := !slices.ContainsFunc(causes, func(cause string) bool { return !slices.Contains(in.loaded, cause) })
	if in.seen > 0 && !known || in.looking {
		in.dirty = true
	}
}

// begin says that a look begins, for the waits that are open and no others.
func (in *inbox) begin() { in.dirty, in.looking, in.loaded = false, true, nil }

// unsure reports whether something may be there.
func (in *inbox) unsure() bool { return in.dirty || in.looking }

func (r *Run) unsure() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inbox.unsure()
}

// Woken tells the run that something has come for it.
func (r *Run) Woken() {
	r.mu.Lock()
	r.inbox.dirty = true
	over := r.over
	r.inFlightChanged()
	r.mu.Unlock()
	if over { // it is parked since, perhaps, and waits to be claimed
		r.env.Created(r.queue, 1)
	}
}

// WokenAt is Woken for whoever knows the run's wake_seq.
func (r *Run) WokenAt(seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq > r.inbox.seen {
		r.inbox.dirty = true
		r.inFlightChanged()
	}
}

// ChildEnded tells the run that one of the children which a step awaits has ended in this process. Only the last of them is news.
func (r *Run) ChildEnded(step string) {
	r.mu.Lock()
	left, awaited := r.inbox.children[step]
	if awaited && left > 1 {
		put(&r.inbox.children, step, left-1)
	}
	r.mu.Unlock()
	if !awaited || left <= 1 {
		r.Woken()
	}
}

// Awaits reports whether the run waits here for something that another process may send.
func (r *Run) Awaits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call == nil || r.call.parking {
		return false
	}
	for w := range r.call.waits {
		if len(w.causes) > 0 {
			return true
		}
	}
	return false
}

// look reads what has come for the open waits, if something may have. One goroutine looks at a time, for all. A call that is parking
// does not look any more: a wait that has returned would not hear of what is found, and the park would know of it.
func (c *call) look() error {
	r := c.run
	r.mu.Lock()
	in := &r.inbox
	if !in.dirty || in.looking || c.parking {
		r.mu.Unlock()
		return nil
	}
	in.begin()
	request := c.request()
	r.mu.Unlock()

	var found store.Inbox
	err := r.repeat("read inbox", func(ctx context.Context) (err error) {
		found, err = r.env.Store.ReadInbox(ctx, request)
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	in.looking = false
	if err != nil {
		in.dirty = true
	} else {
		in.add(&found)
	}
	r.inFlightChanged()
	return err
}

// request asks for all that the call waits for. It expects mu to be held.
func (c *call) request() store.InboxRequest {
	request := store.InboxRequest{RunID: c.run.id, After: make(map[string]int64)}
	for w := range c.waits {
		for _, cause := range w.causes {
			if name, ok := strings.CutPrefix(cause, signalCause); ok {
				request.After[name] = c.run.inbox.after[name]
			} else if key, ok := strings.CutPrefix(cause, stepCause); ok {
				request.Steps = append(request.Steps, key)
			}
		}
	}
	return request
}

// add keeps what a look has found.
func (in *inbox) add(found *store.Inbox) {
	in.seen = max(in.seen, found.WakeSeq)
	brought := make(map[string]int)
	for _, signal := range found.Signals {
		if brought[signal.Name]++; brought[signal.Name] == inboxLimit {
			in.dirty = true // there may be more
		}
		put(&in.after, signal.Name, signal.Seq)
		if !in.taken[signal.Seq] {
			put(&in.unread, signal.Name, append(in.unread[signal.Name], signal))
		}
	}
	children := make(map[string][]store.Run)
	for _, child := range found.Children {
		children[child.Step] = append(children[child.Step], child.Run)
	}
	for _, step := range found.Steps {
		if !step.WakeAt.IsZero() {
			put(&in.until, step.Name, step.WakeAt)
		}
		if step.Waiting > 0 {
			put(&in.children, step.Name, step.Waiting)
		}
		if now := newRecord(step); now.hasEnded() || step.Kind == store.CallStep && step.Waiting == 0 {
			put(&in.arrived, step.Name, &arrival{step: now, children: children[step.Name]})
		}
	}
}

// since returns the unread signals of a name after a certain one, oldest first.
func (in *inbox) since(name string, after int64) []store.Signal {
	unread := in.unread[name]
	first, _ := slices.BinarySearchFunc(unread, after+1, func(s store.Signal, seq int64) int { return cmp.Compare(s.Seq, seq) })
	return slices.Clone(unread[first:])
}

// take removes an unread signal, and reports whether it was still there.
func (in *inbox) take(signal store.Signal) bool {
	unread := in.unread[signal.Name]
	i := slices.IndexFunc(unread, func(s store.Signal) bool { return s.Seq == signal.Seq })
	if i < 0 {
		return false
	}
	put(&in.unread, signal.Name, slices.Delete(unread, i, i+1))
	put(&in.taken, signal.Seq, true)
	return true
}

// giveBack makes a signal unread that no step has taken after all.
func (in *inbox) giveBack(signal store.Signal) {
	delete(in.taken, signal.Seq)
	unread := in.unread[signal.Name]
	i, _ := slices.BinarySearchFunc(unread, signal.Seq, func(s store.Signal, seq int64) int { return cmp.Compare(s.Seq, seq) })
	put(&in.unread, signal.Name, slices.Insert(unread, i, signal))
}

// newInbox knows what the recorded steps have taken and until when they wait, and what was there when they were loaded.
func newInbox(wakeSeq int64, history store.History) inbox {
	in := inbox{seen: wakeSeq}
	for i := range history.Steps {
		if seq := history.Steps[i].SignalSeq; seq > 0 {
			put(&in.taken, seq, true)
		}
		if n := history.Steps[i].Waiting; n > 0 {
			put(&in.children, history.Steps[i].Name, n)
		}
		if step := &history.Steps[i]; step.Status == store.StepScheduled && !step.WakeAt.IsZero() {
			put(&in.until, step.Name, step.WakeAt) // whichever wait it is whose look brings a late signal
		}
	}
	if history.Inbox != nil {
		in.loaded = history.Waits
		in.add(history.Inbox)
	}
	return in
}

// put makes the map if this is its first entry: most runs wait for nobody.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = value
}
