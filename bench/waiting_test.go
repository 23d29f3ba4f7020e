package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Each cell can be measured alone, and the processes that measure know it.
func TestEachCellAlone(t *testing.T) {
	for _, cell := range cellNames {
		p := smoke
		p.only = cell
		rounds := p.rounds()
		if len(rounds) == 0 || cells[cell] == nil {
			t.Errorf("%s: %d rounds; known to the processes: %t", cell, len(rounds), cells[cell] != nil)
		}
		for _, r := range rounds {
			if r.cell != cell || len(r.contestants) == 0 || slices.Contains(r.contestants, "") {
				t.Errorf("-only %s measures %q with %q", cell, r.cell, r.contestants)
			}
		}
	}
}

// Operations that begin within the window are awaited, and nobody begins one after it, nor after an error.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		took, err := repeat(t.Context(), 2, time.Second, func(_ context.Context, caller int) (time.Duration, error) {
			d := []time.Duration{400 * time.Millisecond, 3 * time.Second}[caller]
			time.Sleep(d)
			return d, nil
		})
		// One caller ends at 400, 800 and 1200 ms, the other at 3 s.
		if err != nil || len(took) != 4 || time.Since(began) != 3*time.Second {
			t.Errorf("%v, %v, after %s", took, err, time.Since(began))
		}
		bad := errors.New("bad")
		took, err = repeat(t.Context(), 1, time.Hour, func(context.Context, int) (time.Duration, error) { return 0, bad })
		if !errors.Is(err, bad) || len(took) != 1 {
			t.Errorf("%d operations, %v", len(took), err)
		}
	})
}

// post notes what is started, and how many were when a signal came.
type post struct {
	started int
	trips   [][2]int
}

func (p *post) Wait(context.Context) (signalled, error) {
	p.started++
	number := p.started
	return func(context.Context) error {
		p.trips = append(p.trips, [2]int{number, p.started})
		return nil
	}, nil
}

// A signal goes to the run that waits longest, with others started after it; in the end none waits.
func TestSignalsGoToWhoWaits(t *testing.T) {
	p := new(post)
	s := senders{mailbox: p, waiting: make([][]signalled, 1)}
	for range 5 {
		if _, err := s.next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i, trip := range p.trips {
		if trip != [2]int{i + 1, i + 1 + waitingRuns} {
			t.Errorf("signal %d went to run %d when %d had been started", i+1, trip[0], trip[1])
		}
	}
	if err := s.rest(t.Context()); err != nil || len(p.trips) != p.started {
		t.Errorf("%d signals for %d runs, %v", len(p.trips), p.started, err)
	}
}

// A run whose result is not what its work makes was not measured.
func TestWrongResult(t *testing.T) {
	bad := errors.New("bad")
	if same(1, 1, nil) != nil || same(1, 2, nil) == nil || !errors.Is(same(1, 1, bad), bad) {
		t.Error("same(1, 1), same(1, 2) or same with an error")
	}
}

// What the library is measured with does what it says: children of a fan-out are there and do not begin, and end with their parent.
func TestLibraryWaits(t *testing.T) {
	pg := pgtest.New(t)
	sys, err := contestantNamed(oursPGX).open(t.Context(), pg.AccessURL(t, pgtest.PGX), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := sys.(family).Family(t.Context(), 20); err != nil {
		t.Error(err)
	}
	signal, err := sys.(mailbox).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := signal(t.Context()); err != nil {
		t.Error(err)
	}
	cancel, err := sys.(fanner).FanOut(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	db := pg.Open(t, pgtest.PGX)
	const query = "SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'one step' AND status = $1"
	for _, want := range []struct {
		status string
		n      int
	}{{"pending", 20}, {"cancelled", 20}, {"completed", 20}} {
		var n int
		if err := db.QueryRowContext(t.Context(), query, want.status).Scan(&n); err != nil || n != want.n {
			t.Errorf("%d children are %s, want %d; %v", n, want.status, want.n, err)
		}
		if want.status == "pending" {
			if err := cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The report on those that wait: tables, and the ratio to the better peer, which is the target.
func TestReportOnWaiting(t *testing.T) {
	r := &results{Concurrent: []int{1}, Waiting: []int{1, 32}, Children: 100, FanOut: 1000, Finished: 1e6}
	for _, cell := range []string{cellChildren, cellSignals} {
		for name, rate := range map[string]float64{oursPGX: 600, dbosGo: 100, goWork: 150} {
			r.Samples = append(r.Samples, sample{
				Cell: cell, Concurrent: 32, Contestant: name,
				Values: values{runsPerSecond: rate, p50: rate, wal + perRun: rate, sentStatements + perRun: rate},
			})
		}
	}
	r.Samples = append(r.Samples, sample{Cell: cellFanOut, Contestant: grownContestant, Values: values{
		fanOutWAL: 400_000, fanOutStatements: 3, fanInWAL: 1_200_000, fanInStatements: 40,
	}})
	text := r.markdown()
	for _, want := range []string{
		"| parents/s at 32, of the better peer's | ≥ 5 × | 4.00 | **no** |",
		"| signals/s at 32, of the better peer's | ≥ 5 × | 4.00 | **no** |",
		"A parent starts 100 children", "| go-workflows 1.4 | – | **150** (150–150) |",
		"| signals/s of sqlworkflow on pgx, of | 1 | 32 |\n|---|---|---|\n| DBOS Go 1.8 | 0.00 | 6.00 |\n| go-workflows 1.4 | 0.00 | 4.00 |\n" +
			"| the better of them | 0.00 | 4.00 |\n",
		"| bytes of WAL a parent and its children | 1 | 32 |\n", "with 1,000 children beside 1,000,000 finished runs",
		"**400,000** (400,000–400,000) bytes until the children are there and the parent is parked, in 3 statements",
		"**1,200,000** (1,200,000–1,200,000) bytes, in 40 statements",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	heads := make(map[string]bool) // docs/speed.md is held to a table by its head
	for _, table := range strings.Split(text, "\n\n") {
		head, _, _ := strings.Cut(table, "\n")
		if strings.HasPrefix(head, "|") && heads[head] {
			t.Errorf("two tables begin with %s", head)
		}
		heads[head] = true
	}

	r.Samples = r.Samples[:1] // of the three, in one cell
	text = r.markdown()
	for _, other := range []string{"better peer's", "## A signal", "## A fan-out", "## Sleepers", "## Attempts that fail"} {
		if strings.Contains(text, other) {
			t.Errorf("%q, of what was not measured:\n%s", other, text)
		}
	}
}
