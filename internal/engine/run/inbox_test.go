package run

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/store"
)

func signal(seq int64, name string) store.Signal { return store.Signal{Seq: seq, Name: name} }

// Each signal is taken once, the oldest of its name first; those that recorded steps have taken are not taken again. What is
// refused stays for somebody else, and what nobody has taken after all comes back.
func TestInboxTakesInOrder(t *testing.T) {
	t.Parallel()
	in := newInbox(9, store.History{Steps: []store.Step{{Name: "b/s", SignalSeq: 3}}})
	in.add(&store.Inbox{WakeSeq: 12, Signals: []store.Signal{signal(1, "s"), signal(2, "other"), signal(3, "s"), signal(5, "s"), signal(8, "s")}})
	var got []int64
	take := func(after int64) store.Signal {
		unread := in.since("s", after)
		if len(unread) == 0 {
			got = append(got, -1)
			return store.Signal{}
		}
		if !in.take(unread[0]) || in.take(unread[0]) {
			t.Errorf("signal %d: want it taken once", unread[0].Seq)
		}
		got = append(got, unread[0].Seq)
		return unread[0]
	}
	take(0)
	take(5)
	back := take(0)
	take(0)
	in.giveBack(back)
	take(0)
	if diff := cmp.Diff([]int64{1, 8, 5, -1, 5}, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if in.seen != 12 || in.after["s"] != 8 || in.after["other"] != 2 {
		t.Errorf("seen %d, after %v; want 12, and 8 and 2", in.seen, in.after)
	}
}

// A run for which nothing ever came need not look; one of which a look brought as many as it may has to look again.
func TestInboxLooksWhenItMust(t *testing.T) {
	t.Parallel()
	in := newInbox(0, store.History{})
	if in.expect([]string{"signal:s"}); in.unsure() {
		t.Error("nothing ever came, and it would look")
	}
	var many []store.Signal
	for n := range inboxLimit {
		many = append(many, signal(int64(n+1), "s"))
	}
	if in.add(&store.Inbox{WakeSeq: inboxLimit, Signals: many}); !in.unsure() {
		t.Error("there may be more, and it would not look")
	}
	in = newInbox(1, store.History{})
	if in.expect([]string{"signal:s"}); !in.unsure() {
		t.Error("something came, and it would not look")
	}
	in = newInbox(0, store.History{})
	in.looking = true // for others, and may find that something has come
	in.expect([]string{"signal:s"})
	if in.looking = false; !in.unsure() {
		t.Error("a look that does not ask for a wait counts for it")
	}
}

// A call that is parking does not look: what is found then, a wait that has returned would not hear of, and the park would know of.
func TestNoLookWhileParking(t *testing.T) {
	t.Parallel()
	r := timedRun()
	c := r.newCall(nil)
	c.parking, r.inbox.dirty = true, true
	if err := c.look(); err != nil || !r.inbox.dirty { // there is no store to ask
		t.Errorf("look: %v, and something may be there: %t", err, r.inbox.dirty)
	}
}

// What was loaded with a run is not looked for again, until there is a look for something else.
func TestInboxKnowsWhatWasLoaded(t *testing.T) {
	t.Parallel()
	open := store.Step{Name: "s", Status: store.StepScheduled, Kind: store.SignalStep, WakeAt: time.UnixMilli(7)}
	loaded := func() inbox {
		return newInbox(3, store.History{
			Steps: []store.Step{open, {Name: "before", SignalSeq: 2}}, Waits: []string{"signal:s", "step:s"},
			Inbox: &store.Inbox{WakeSeq: 4, Signals: []store.Signal{signal(2, "s"), signal(4, "s")}, Steps: []store.Step{open}},
		})
	}
	in := loaded()
	if in.expect([]string{"signal:s", "step:s"}); in.unsure() {
		t.Error("what it waits for was loaded, and it would look")
	}
	if unread := in.since("s", 0); len(unread) != 1 || unread[0].Seq != 4 || in.seen != 4 || !in.until["s"].Equal(open.WakeAt) {
		t.Errorf("%v as of %d, until %v; want signal 4, as of 4, until the recorded time", unread, in.seen, in.until)
	}
	if in.expect([]string{"signal:s", "step:other"}); !in.unsure() {
		t.Error("something that was not loaded is waited for, and it would not look")
	}
	in = loaded()
	in.begin() // for others, and may find that something has come
	in.add(&store.Inbox{WakeSeq: 5})
	in.looking = false
	if in.expect([]string{"signal:s"}); !in.unsure() {
		t.Error("a look that was not for a wait counts for it, since it was loaded once")
	}
	r := &Run{inbox: loaded(), changed: make(chan struct{})}
	r.Woken()
	if r.inbox.expect([]string{"signal:s"}); !r.unsure() {
		t.Error("something came after the load, and it would not look")
	}
}

// Of the children of a step that end in this process, only the last one is news.
func TestLastChildIsNews(t *testing.T) {
	t.Parallel()
	r := timedRun()
	put(&r.inbox.children, "s", 3)
	for n := 1; n <= 3; n++ {
		r.ChildEnded("s")
		if got, want := r.inbox.dirty, n == 3; got != want {
			t.Errorf("after %d children: news %t, want %t", n, got, want)
		}
	}
}

// The ids of children depend on the parent, the step and the place alone, and begin as that of the run which all descend from.
func TestChildIDs(t *testing.T) {
	t.Parallel()
	ids := func(runID string, depth int, key string) []string {
		r := timedRun()
		r.id, r.depth = runID, depth
		return (&step{call: r.newCall(nil), key: key}).childIDs(2)
	}
	first := ids("order.7", 0, "ship")
	if diff := cmp.Diff(first, ids("order.7", 0, "ship")); diff != "" {
		t.Errorf("not the same again:\n%s", diff)
	}
	seen := make(map[string]bool)
	for _, id := range append(append(first, ids(first[0], 1, "ship")...), append(ids("order.7", 0, "bill"), ids(first[1], 1, "ship")...)...) {
		if len(id) != len("order.7.")+32 || id[:8] != "order.7." || seen[id] {
			t.Errorf("id %q: want 32 digits after order.7., of its own", id)
		}
		seen[id] = true
	}
}

// Until when a recorded step waits is known before a look has read its row: a look for others may bring what came too late for it.
func TestInboxKnowsRecordedTimes(t *testing.T) {
	t.Parallel()
	at := time.Unix(7, 0)
	in := newInbox(0, store.History{Steps: []store.Step{
		{Name: "open", Status: store.StepScheduled, WakeAt: at}, {Name: "for ever", Status: store.StepScheduled},
		{Name: "asleep", Status: store.StepSucceeded, WakeAt: at},
	}})
	if len(in.until) != 1 || !in.until["open"].Equal(at) {
		t.Errorf("until %v, want that of the open step", in.until)
	}
}

// What comes for a run between its park and the moment in which this process forgets it is for whoever claims it.
func TestNewsForARunThatIsOver(t *testing.T) {
	t.Parallel()
	r, claimable := timedRun(), 0
	r.env.Created = func(_ string, n int) { claimable += n }
	if r.Woken(); claimable != 0 {
		t.Error("it is executed here")
	}
	r.settle(nil)
	r.Woken()
	r.ChildEnded("s")
	if claimable != 2 {
		t.Errorf("told of %d claimable runs, want 2", claimable)
	}
}
