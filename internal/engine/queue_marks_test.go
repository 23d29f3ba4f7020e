package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/store"
)

func TestQueueMarks(t *testing.T) {
	t.Parallel()
	const slack = 5_000
	lane := func(workflow string, priority int) store.Lane {
		return store.Lane{Queue: "q", Workflow: workflow, Priority: priority}
	}
	due := func(workflow string, priority int, runAt int64) store.ClaimedRun {
		run := store.ClaimedRun{Workflow: workflow, RunAt: runAt}
		run.Queue, run.Priority = "q", priority
		return run
	}
	saw := func(m *queueMarks, claim store.QueueClaim, took time.Duration) {
		m.saw("q", []string{"a", "b"}, answer{QueueClaim: claim, limit: 2, took: took})
	}
	var m queueMarks
	want := func(why string, marks map[store.Lane]int64) {
		t.Helper()
		if diff := cmp.Diff(marks, m.askQueue("q").from); diff != "" {
			t.Errorf("%s (-want +got):\n%s", why, diff)
		}
	}

	// A backlog of one partition is walked from its oldest entry on; the mark stays behind it.
	saw(&m, store.QueueClaim{Now: 100_000, Single: true, Runs: []store.ClaimedRun{due("a", 2, 50_000), due("a", 2, 51_000)}}, 0)
	want("after a backlog", map[store.Lane]int64{lane("a", 2): 50_999})

	// With partitions it says nothing of other partitions.
	saw(&m, store.QueueClaim{Now: 100_000, Runs: []store.ClaimedRun{due("a", 2, 60_000), due("b", 0, 61_000)}}, 0)
	want("after partitions", map[store.Lane]int64{lane("a", 2): 50_999, lane("b", 0): 0})

	// What a limit, the rate, another claim or a suspect has kept is passed over.
	suspect := due("a", 2, 70_000)
	suspect.TakeOvers = 2
	for _, claim := range []store.QueueClaim{{Full: true}, {Wait: 1}, {Missed: true}, {More: true}, {Runs: []store.ClaimedRun{suspect}}} {
		claim.Now = 110_000
		saw(&m, claim, time.Second)
	}
	want("after answers that say nothing of the rest", map[store.Lane]int64{lane("a", 2): 50_999, lane("b", 0): 0})

	// Nothing more waits.
	saw(&m, store.QueueClaim{Now: 120_000, Runs: []store.ClaimedRun{due("a", 2, 119_000)}}, 0)
	nearest := int64(120_000 - slack)
	want("after all", map[store.Lane]int64{lane("a", 2): nearest, lane("b", 0): nearest})
	if other := m.askQueue("other").from; len(other) > 0 {
		t.Errorf("another queue has marks: %v", other)
	}

	// A claim that took long gives marks to all that it has asked for.
	saw(&m, store.QueueClaim{Now: 130_000}, slowClaim)
	if got := m.askQueue("q").from; len(got) != 2*priorities || got[lane("b", 4)] != 130_000-slack {
		t.Errorf("after a slow claim: %v", got)
	}
}

// A full look has claims begin at the beginning too, of the queues that it has found, until one of them has brought what there is.
func TestFullLooksAtQueues(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	m := queueMarks{
		at: map[store.Lane]int64{{Queue: "q", Workflow: "a", Priority: 2}: 7}, last: make(map[string]store.QueueClaim),
	}
	look := m.ask(now)
	if !look.full || look.from != nil {
		t.Fatalf("the first look is not a full one: %v", look)
	}
	m.looked(look, 2*time.Millisecond, now, 3)
	m.found(look, []string{"q"})
	if look := m.ask(now.Add(599 * time.Millisecond)); look.full || len(look.from) != 1 {
		t.Errorf("a full look comes before its share of the time is over: %v", look)
	}
	if look := m.ask(now.Add(600 * time.Millisecond)); !look.full {
		t.Error("no full look comes when its share of the time is over")
	}

	for _, claim := range []store.QueueClaim{{Missed: true}, {Full: true}} {
		if !m.askQueue("q").full {
			t.Fatalf("the claim is not a full one; %+v is next", claim)
		}
		m.saw("q", []string{"a"}, answer{QueueClaim: claim, limit: 1})
	}
	if m.askQueue("p").full {
		t.Error("a claim of a queue that was not found is a full one")
	}
	full := m.askQueue("q")
	m.looked(full, time.Millisecond, now, 3)
	m.saw("q", []string{"a"}, answer{QueueClaim: store.QueueClaim{Runs: runsOf("q", 1)}, limit: 1})
	if m.askQueue("q").full {
		t.Error("once it has brought some the claim is a full one still")
	}
	if m.ask(now.Add(899*time.Millisecond)).full || !m.ask(now.Add(900*time.Millisecond)).full {
		t.Error("a full claim does not put off the next full look by its share")
	}

	m.lookAtAll()
	if !m.ask(now).full {
		t.Error("not a full look although it is to look at all")
	}
	m.looked(queueLook{full: true}, time.Minute, now, 20)
	if !m.ask(now.Add(maxFullPause)).full {
		t.Error("a full look that waited for a connection puts off the next one for hours")
	}
}

// A transaction that was open for long has left more runs before the marks than there was room for: full claims go on until all have come.
func TestQueueMarksOfManyLateRuns(t *testing.T) {
	t.Parallel()
	var m queueMarks
	lane := store.Lane{Queue: "q", Workflow: "a"}
	m.at, m.last = map[store.Lane]int64{lane: 5_000}, make(map[string]store.QueueClaim)
	claim := func(runAt int64) {
		run := store.ClaimedRun{Workflow: "a", RunAt: runAt}
		run.Queue = "q"
		m.saw("q", []string{"a"}, answer{QueueClaim: store.QueueClaim{Now: 20_000, Runs: []store.ClaimedRun{run}, Full: true}, limit: 1})
	}
	m.found(queueLook{full: true}, []string{"q"})
	for range 3 {
		claim(4_000)
		if !m.askQueue("q").full {
			t.Fatal("the next claim does not look where others may be left")
		}
	}
	claim(5_001)
	if m.askQueue("q").full {
		t.Error("a claim that brought none from before the marks is followed by a full one")
	}
}
