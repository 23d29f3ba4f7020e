package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Whoever is measured with a limit has it: with room for more, no more steps are under way at once, and as many.
func TestLimitsHold(t *testing.T) {
	stepTakes = scalingTakes
	defer func() { stepTakes = 0 }()
	for _, cell := range []string{cellLimit, cellBoth} {
		for _, r := range (plan{only: cell}).rounds() {
			for _, name := range r.contestants {
				t.Run(cell+" "+name, func(t *testing.T) {
					mostSteps.Store(0)
					work(t, name, cell, 6*fleetLimit)
					if most := mostSteps.Load(); most > fleetLimit || most < fleetLimit/2 {
						t.Errorf("%d steps at once, want %d", most, fleetLimit)
					}
				})
			}
		}
	}
}

// Without a limit more are under way: else the limit that the test above sees were another one.
func TestNoLimit(t *testing.T) {
	stepTakes = scalingTakes
	defer func() { stepTakes = 0 }()
	for _, name := range []string{oursPGX, dbosGo} {
		mostSteps.Store(0)
		work(t, name, cellPartitions, 12*fleetLimit)
		if most := mostSteps.Load(); most <= fleetLimit || most > queueSlots {
			t.Errorf("%s: %d steps at once with %d slots", name, most, queueSlots)
		}
	}
}

// work has a contestant execute n runs as a cell does, but in one process.
func work(t *testing.T, name, cell string, n int) {
	t.Helper()
	url, q, c := pgtest.New(t).AccessURL(t, pgtest.PGX), queueings[cell], contestantNamed(name)
	w, err := c.openWorker(t.Context(), url, q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := c.openProducer(t.Context(), url, q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := inParallel(t.Context(), n, p.Enqueue); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitAll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What the library's runs are started with is what the report says.
func TestQueuedRuns(t *testing.T) {
	pg := pgtest.New(t)
	p, err := contestantNamed(oursPGX).openProducer(t.Context(), pg.AccessURL(t, pgtest.PGX), queueings[cellBoth])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := inParallel(t.Context(), 2*partitions, p.Enqueue); err != nil {
		t.Fatal(err)
	}
	db := pg.Open(t, pgtest.PGX)
	var queued, tenants, limit int
	err = db.QueryRowContext(t.Context(), `
		SELECT count(*), count(DISTINCT partition_key), (SELECT max_running FROM workflows.workflow_queues WHERE name = $1)
		FROM workflows.workflow_runs WHERE queue = $1`, queueName).Scan(&queued, &tenants, &limit)
	if err != nil || queued != 2*partitions || tenants != partitions || limit != fleetLimit {
		t.Errorf("%d runs in %d partitions, limit %d, %v", queued, tenants, limit, err)
	}
}

// A run that is alone tells when it began, each way that there is: between its start and its result.
func TestOnce(t *testing.T) {
	for _, c := range correspondents {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.New(t).AccessURL(t, pgtest.PGX)
			if c.openWorker != nil {
				w, err := c.openWorker(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
			}
			s, err := c.openStarter(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			before := time.Now().Truncate(time.Microsecond)
			began, err := s.Once(t.Context())
			if err != nil || began.Before(before) || began.After(time.Now()) {
				t.Errorf("began %s after the start, known %s after it; %v", began.Sub(before), time.Since(before), err)
			}
		})
	}
}

// The report on queues: what a limit costs is taken from the same without one, and who was not measured is not claimed to be.
func TestReportOnQueues(t *testing.T) {
	r := &results{Concurrent: []int{1}, Processors: 2, Processes: []int{1, 8}, PerWorker: 1500, Backlog: 20_000}
	add := func(cell, name string, concurrent int, v values) {
		r.Samples = append(r.Samples, sample{Cell: cell, Contestant: name, Concurrent: concurrent, Values: v})
	}
	add(cellQueue, riverPGX, 0, values{runsPerSecond: 3000})
	add(cellQueue, oursPGX, 0, values{runsPerSecond: 9000})
	add(cellNamed, oursPGX, 0, values{runsPerSecond: 8000})
	add(cellSlots, oursPGX, 0, values{runsPerSecond: 4400})
	add(cellLimit, oursPGX, 0, values{runsPerSecond: 4000})
	add(cellLimit, riverPGX, 0, values{runsPerSecond: 2000})
	for _, name := range []string{oursAcross, oursNotifiedPGX} {
		add(cellLatency, name, 0, values{beginsP50: 2500, beginsP99: 9000, knownP50: 4000, knownP99: 150_000, startedRuns: 30})
	}
	add(cellScaling, oursPGX, 1, values{runsPerSecond: 790})
	add(cellCrowdLimit, oursPGX, 8, values{runsPerSecond: 5000})
	text := r.markdown()
	for _, want := range []string{
		"| queue with a limit of 50, of one without | ≥ 0.7 × | 0.50 | **no** |",
		"| the same, of a worker with 50 slots and no limit | ≥ 0.7 × | 0.91 | yes |",
		"| start to work in another process that is idle, with a notifier, p50, ms | ≤ 5 | 2.50 | yes |",
		"| runs/s with | a queue by name | 50 slots, no limit | limit of 50 | 100 partitions | both |\n|---|---|---|---|---|---|\n" +
			"| sqlworkflow, pgx | **8,000** (8,000–8,000) | **4,400** (4,400–4,400) | **4,000** (4,000–4,000) | – | – |\n" +
			"| River 0.51, pgx | – | – | **2,000** (2,000–2,000) | – | – |\n\n",
		"| sqlworkflow, pgx | 0.55 | 0.50 | – | – |\n| River 0.51, pgx | – | 0.67 | – | – |\n\n",
		"| sqlworkflow, pgx | 1.00 | 1.00 | – | – |\n| River 0.51, pgx | – | 2.00 | – | – |\n\n",
		"| sqlworkflow | 2.5 | 9 | 4 | 150 | 30 |\n",
		"a process has at most 800 runs/s, and a limit of 50 over all of them allows 2500",
		"| sqlworkflow, pgx, steps of 20 ms | **790** (790–790) | – |\n" +
			"| sqlworkflow, pgx, empty steps, limit of 50 | – | **5,000** (5,000–5,000) |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Samples = r.Samples[:2]
	text = r.markdown()
	for _, other := range []string{"a limit of", "with a notifier", "## A run that is alone", "## Several processes"} {
		if strings.Contains(text, other) {
			t.Errorf("%q, of what was not measured:\n%s", other, text)
		}
	}
}

// What is kept of earlier results are the cells that were not taken again, with the time of theirs.
func TestCellsAreKept(t *testing.T) {
	first, second, third := time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	before := &results{Began: second, Repetitions: 5, Earlier: []earlier{{first, 4, []string{cellSteps}}}, Samples: []sample{
		{Cell: cellRuns, Repetition: 1}, {Cell: cellSteps}, {Cell: cellQueue}, {Cell: cellQueue, Repetition: 2}, {Cell: cellMemory},
	}}
	r := &results{Began: third, Samples: []sample{{Cell: cellRuns, Repetition: 7}}}
	r.keep(before)
	want := []earlier{{first, 4, []string{cellSteps}}, {second, 5, []string{cellQueue, cellMemory}}}
	if !reflect.DeepEqual(r.Earlier, want) || len(r.Samples) != 5 || r.Samples[0].Repetition != 7 {
		t.Errorf("%v with samples %v, want %v and the new runs", r.Earlier, r.Samples, want)
	}
}
