package engine

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

var agendaStart = time.Unix(1_000_000, 0)

// at is so many milliseconds after the start.
func at(ms float64) time.Time {
	return agendaStart.Add(time.Duration(ms * float64(time.Millisecond)))
}

func runsOf(queue string, n int) []store.ClaimedRun {
	runs := make([]store.ClaimedRun, n)
	for i := range runs {
		runs[i].Queue = queue
	}
	return runs
}

// A queue is asked, answers, and is asked again when that is of use.
func TestAgendaAfterAnAnswer(t *testing.T) {
	t.Parallel()
	const limit = 10
	waiting := func(ms float64) func(*agenda) { return func(a *agenda) { a.waiting("q", at(ms)) } }
	left := func(ms float64) func(*agenda) { return func(a *agenda) { a.left("q", at(ms)) } }
	found := func(ms float64) func(*agenda) {
		return func(a *agenda) { a.looked([]string{"q"}, at(ms), time.Millisecond) }
	}
	before := func(took time.Duration) func(*agenda) { // how long the look before this one took, which found nothing
		return func(a *agenda) { a.queue("q").rest.after(at(0), took) }
	}
	never := [2]float64{}
	tests := []struct {
		name      string
		claim     store.QueueClaim
		took      time.Duration
		meanwhile func(*agenda) // while the queue is being asked, of which the answer comes at 100
		later     func(*agenda)
		due       [2]float64 // between these; never: not before something is said
	}{
		{"nothing waits any more", store.QueueClaim{Runs: runsOf("q", 3)}, 0, nil, nil, never},
		{"a run was started since", store.QueueClaim{Runs: runsOf("q", 3)}, 0, nil, waiting(200), [2]float64{200, 200}},
		{"a run was started meanwhile", store.QueueClaim{}, 0, waiting(90), nil, [2]float64{100, 100}},
		{"a run has ended, and no limit was met", store.QueueClaim{Runs: runsOf("q", 3)}, 0, left(90), left(200), never},
		{"a look has found it since", store.QueueClaim{}, 0, nil, found(300), [2]float64{300, 300}},
		{"as many as were asked for", store.QueueClaim{Runs: runsOf("q", limit)}, 0, nil, nil, [2]float64{100, 100}},
		{"another claim was met", store.QueueClaim{Missed: true}, 0, nil, nil, [2]float64{101, 103}},
		{"more partitions", store.QueueClaim{More: true}, 0, nil, nil, [2]float64{100, 100}},
		{"full", store.QueueClaim{Full: true}, 0, nil, nil, never},
		{"full after as many as were asked for", store.QueueClaim{Full: true, Runs: runsOf("q", limit)}, 0, nil, nil, never},
		{"full, and a run has ended since", store.QueueClaim{Full: true}, 0, nil, left(200), [2]float64{200, 200}},
		{"full, and a run has ended meanwhile", store.QueueClaim{Full: true}, 0, left(90), nil, [2]float64{100, 100}},
		{"full, and a run was started since: perhaps of another partition", store.QueueClaim{Full: true}, 0, nil, waiting(200), [2]float64{212, 238}},
		{"full, and a run was started meanwhile", store.QueueClaim{Full: true}, 0, waiting(90), nil, [2]float64{112, 138}},
		{"full, and a look has found it since", store.QueueClaim{Full: true}, 0, nil, found(300), [2]float64{300, 300}},
		{"as many as were asked for, which were few: what comes free meanwhile goes with the next", store.QueueClaim{Runs: runsOf("q", limit)},
			3 * time.Millisecond, nil, nil, [2]float64{103, 103}},
		{"a whole batch", store.QueueClaim{Runs: runsOf("q", claimBatch)}, 3 * time.Millisecond, nil, nil, [2]float64{100, 100}},
		{"full, and a run has ended right after it", store.QueueClaim{Full: true}, 3 * time.Millisecond, nil, left(101), [2]float64{103, 103}},
		{"full, and a run has ended meanwhile, after a slow claim", store.QueueClaim{Full: true, Runs: runsOf("q", 1)}, time.Second, left(90), nil,
			[2]float64{105, 105}},
		{"full, and a run has ended long after it", store.QueueClaim{Full: true}, 3 * time.Millisecond, nil, left(200), [2]float64{200, 200}},
		{"the rate", store.QueueClaim{Wait: 70 * time.Millisecond}, 0, nil, nil, [2]float64{170, 170}},
		{"the rate, which no run changes", store.QueueClaim{Wait: 70 * time.Millisecond, Runs: runsOf("q", limit)}, 0,
			waiting(90), func(a *agenda) { waiting(110)(a); left(111)(a); found(120)(a) }, [2]float64{170, 170}},
		{"a slow rate", store.QueueClaim{Wait: time.Hour}, 0, waiting(90), func(a *agenda) { waiting(110)(a); found(1000)(a) }, never},
		{"a slow rate, which may be changed", store.QueueClaim{Wait: time.Hour}, 0, nil, found(1200), [2]float64{1200, 1200}},
		{"a second slow look that found nothing", store.QueueClaim{}, 21 * time.Millisecond, before(21 * time.Millisecond), waiting(110),
			[2]float64{280, 280}},
		{"a look that was slow once", store.QueueClaim{}, 21 * time.Millisecond, before(time.Millisecond), waiting(110), [2]float64{110, 110}},
		{"the first look, a slow one", store.QueueClaim{}, 21 * time.Millisecond, nil, waiting(110), [2]float64{110, 110}},
		{"a slow look that found some", store.QueueClaim{Runs: runsOf("q", 1)}, 21 * time.Millisecond, nil, waiting(110), [2]float64{110, 110}},
	}
	for _, test := range tests {
		var a agenda
		a.waiting("q", at(0))
		if queue, _ := a.next(at(0)); queue != "q" {
			t.Fatalf("due is %q", queue)
		}
		a.ask("q")
		if queue, in := a.next(at(50)); queue != "" || in != 0 {
			t.Errorf("%s: due again while it is asked", test.name)
		}
		if test.meanwhile != nil {
			test.meanwhile(&a)
		}
		a.answered("q", answer{QueueClaim: test.claim, limit: max(limit, len(test.claim.Runs)), now: at(100), took: test.took})
		if test.later != nil {
			test.later(&a)
		}
		queue, due := a.next(at(0))
		if test.due == never {
			if queue != "" || due != 0 {
				t.Errorf("%s: due in %s, want never", test.name, due)
			}
			continue
		}
		from, to := at(test.due[0]).Sub(agendaStart), at(test.due[1]).Sub(agendaStart)
		if queue != "" || due < from || due > to {
			t.Errorf("%s: due %q in %s, want between %s and %s", test.name, queue, due, from, to)
		}
		if queue, _ := a.next(at(test.due[1])); queue != "q" {
			t.Errorf("%s: not due when its time has come", test.name)
		}
	}
}

// The pauses of a queue that others ask all the time grow a little, and are short again once it has answered.
func TestAgendaMissed(t *testing.T) {
	t.Parallel()
	var a agenda
	pause := func() time.Duration {
		a.answered("q", answer{QueueClaim: store.QueueClaim{Missed: true}, limit: 1, now: at(0)})
		_, in := a.next(at(0))
		a.ask("q")
		return in
	}
	for n := range 30 {
		most := 3 * time.Millisecond * time.Duration(min(n+1, 10))
		if in := pause(); in < most/3 || in > most {
			t.Errorf("missed %d times in a row: again in %s, want a third of %s at least, and no more than it", n+1, in, most)
		}
	}
	a.answered("q", answer{limit: 1, now: at(0)})
	if in := pause(); in > 3*time.Millisecond {
		t.Errorf("missed once: again in %s", in)
	}
}

// Many partitions are looked at in a row, but not without an end.
func TestAgendaManyPartitions(t *testing.T) {
	t.Parallel()
	var a agenda
	a.waiting("q", at(0))
	turns := 0
	for ; turns < 1000; turns++ {
		queue, _ := a.next(at(0))
		if queue == "" {
			break
		}
		a.ask("q")
		a.answered("q", answer{QueueClaim: store.QueueClaim{More: true}, limit: 1, now: at(0)})
	}
	if turns != maxMore+1 {
		t.Errorf("asked %d times in a row, want %d", turns, maxMore+1)
	}
	a.looked([]string{"q"}, at(1), 0)
	if queue, _ := a.next(at(1)); queue != "q" {
		t.Error("the next look does not go on")
	}
}

// Of many queues each is asked in turn, whatever becomes of the others.
func TestAgendaOfManyQueues(t *testing.T) {
	t.Parallel()
	var a agenda
	a.looked([]string{"busy", "full", "rare", "failing"}, at(0), 0)
	asked := make(map[string]int)
	for ms := range 100 {
		now := at(float64(ms))
		queue, _ := a.next(now)
		if queue == "" {
			t.Fatalf("at %d nothing is due", ms)
		}
		asked[queue]++
		a.ask(queue)
		got := answer{limit: 1, now: now}
		switch queue {
		case "busy":
			got.Runs = runsOf(queue, 1)
		case "full":
			got.Full = true
			a.left(queue, now)
		case "rare":
			a.waiting(queue, now)
		case "failing":
			a.postpone(queue, now, 10*time.Millisecond, time.Second)
			continue
		}
		a.answered(queue, got)
	}
	for _, queue := range []string{"busy", "full", "rare"} {
		if asked[queue] < 30 {
			t.Errorf("%q was asked %d times of 100: %v", queue, asked[queue], asked)
		}
	}
	if n := asked["failing"]; n < 2 || n > 6 {
		t.Errorf("the failing one was asked %d times, want ever longer pauses", n)
	}
}

// A look comes once in a pause, at once when runs may wait of whatever queue, and not all the time where it takes long.
func TestAgendaLooks(t *testing.T) {
	t.Parallel()
	const every = 100 * time.Millisecond
	var a agenda
	if in := a.lookIn(at(0)); in != 0 {
		t.Errorf("the first look is in %s", in)
	}
	a.beginLook(at(0), every)
	a.looked(nil, at(1), time.Millisecond)
	if in := a.lookIn(at(1)); in < every/2-time.Millisecond || in > 3*every/2 {
		t.Errorf("the next look is in %s", in)
	}
	a.lookNow()
	if in := a.lookIn(at(2)); in != 0 {
		t.Errorf("it was said to look: in %s", in)
	}

	// What is said while a look is under way is not forgotten.
	a.beginLook(at(3), every)
	a.lookNow()
	a.looked(nil, at(4), time.Millisecond)
	if in := a.lookIn(at(4)); in != 0 {
		t.Errorf("it was said to look during a look: in %s", in)
	}

	a.beginLook(at(5), every)
	a.looked(nil, at(45), 41*time.Millisecond)
	a.lookNow()
	if in := a.lookIn(at(45)); in != 0 {
		t.Errorf("a look that was slow once is followed by the next in %s", in)
	}
	a.beginLook(at(45), every)
	a.looked(nil, at(86), 50*time.Millisecond)
	a.looked(nil, at(86), 41*time.Millisecond)
	a.lookNow()
	if in := a.lookIn(at(86)); in != 9*40*time.Millisecond {
		t.Errorf("a look that took 41 ms is followed by the next in %s", in)
	}
}

// However often it is said that runs may wait, the queues that are due are asked; and no look is sent while there is no slot for them.
func TestAgendaLooksAndAsksInTurn(t *testing.T) {
	t.Parallel()
	var a agenda
	a.beginLook(at(0), time.Hour)
	a.looked([]string{"q"}, at(0), 0)
	looks, asked := 0, 0
	for ms := range 100 {
		a.lookNow()
		look, queue, _ := a.turn(at(float64(ms)), 1)
		switch {
		case look:
			looks++
			a.beginLook(at(float64(ms)), time.Hour)
			a.looked([]string{"q"}, at(float64(ms)), 0)
		case queue == "q":
			asked++
			a.ask("q")
			a.answered("q", answer{QueueClaim: store.QueueClaim{Runs: runsOf("q", 1)}, limit: 1, now: at(float64(ms))})
		}
	}
	if looks != 50 || asked != 50 {
		t.Errorf("%d looks, and the queue was asked %d times; want them in turn", looks, asked)
	}

	a.lookNow()
	if look, queue, _ := a.turn(at(100), 0); look || queue != "q" {
		t.Errorf("without a slot: a look %t, queue %q", look, queue)
	}
	a.ask("q")
	if look, _, _ := a.turn(at(100), 0); !look {
		t.Error("without a slot, and no queue due: no look")
	}
}
