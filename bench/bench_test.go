package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What an engine sends for a run is what the bare loops send.
func TestEngineSendsTheRecordedStatements(t *testing.T) {
	pg := pgtest.New(t)
	url := pg.AccessURL(t, pgtest.PGX)
	recorded, err := recordStatements(t.Context(), url, uuid.NewString())
	if err != nil {
		t.Fatal(err)
	}
	db, counter, err := counting.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := workflow.New(workflow.Config{DB: db, Statements: workflow.StatementsSingle, Concurrency: 2 * queueCallers})
	if err != nil {
		t.Fatal(err)
	}
	l := &library{db: db, svc: svc, elsewhere: svc}
	svc.Register(tenSteps)
	l.work()
	if err := inParallel(t.Context(), 2000, func(ctx context.Context, _ int) error { return l.Run(ctx) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	known := append(slices.Clone(recorded.alone[:]), recorded.grouped[1:]...)
	_, texts := counter.TakeTexts()
	seen, others := make(map[string]bool), 0
	for _, text := range texts {
		if slices.Contains(known, text) {
			seen[text] = true
		} else {
			others++ // claims, heartbeats, what is not written at the first try
		}
	}
	if !seen[recorded.grouped[1<<parts-1]] || !seen[recorded.grouped[1<<checkpoint]] {
		t.Errorf("of %d statements none is one of the bare loops' for all parts, or for checkpoints", len(texts))
	}
	if others > len(texts)/4 {
		t.Errorf("of %d statements %d are none of the bare loops'", len(texts), others)
	}
}

func TestMedianAndSpread(t *testing.T) {
	for want, all := range map[string][]float64{
		"–": nil, "**1** (1–1)": {1}, "**2.5** (1–4)": {4, 1, 2, 3}, "**1,500** (9–1,234,567)": {1234567, 1500, 9},
	} {
		if got := spread(all); got != want {
			t.Errorf("spread(%v) = %q, want %q", all, got, want)
		}
	}
}

// A target that is missed is marked as such, with the reason where the bare loop misses it too; one that was not measured is not
// claimed.
func TestTargets(t *testing.T) {
	r := &results{Samples: []sample{
		{Cell: cellRuns, Concurrent: 32, Contestant: oursPGX, Values: values{runsPerSecond: 1000}},
		{Cell: cellRuns, Concurrent: 32, Contestant: dbosGo, Values: values{runsPerSecond: 200}},
		{Cell: cellRuns, Concurrent: 32, Contestant: groupedPGX, Values: values{runsPerSecond: 1250}},
		{Cell: cellRuns, Concurrent: 128, Contestant: oursPGX, Values: values{runsPerSecond: 2000}},
		{Cell: cellRuns, Concurrent: 128, Contestant: dbosGo, Values: values{runsPerSecond: 200}},
		{Cell: cellRuns, Concurrent: 128, Contestant: groupedPGX, Values: values{runsPerSecond: 4000}},
		{Cell: cellSteps, Contestant: oursPGX, Values: values{p50: 140}},
		{Cell: cellSteps, Contestant: singlePGX, Values: values{p50: 100}},
	}}
	w := &report{results: r}
	w.targets()
	for _, want := range []string{
		"| ≥ 7 × | 5.00 | no: the bare loop itself has 6.25 × |", "| ≥ 14 × | 10.00 | **no** |", "| ≥ 0.8 × | 0.80 | yes |", "| ≤ 1.3 × | 1.40 | **no** |",
	} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w.String())
		}
	}
	if lines := strings.Count(w.String(), "\n| "); lines != 1+5 {
		t.Errorf("%d lines, want five and the head:\n%s", lines, w.String())
	}
}

// Array literals are read back as what they were made of.
func TestArrayLiteral(t *testing.T) {
	db := pgtest.New(t).Open(t, pgtest.PGX)
	want := `a "quote" and a \`
	var got string
	var n int64
	var null *string
	err := db.QueryRowContext(t.Context(), "SELECT ($1::text[])[1], ($2::bigint[])[2], ($1::text[])[2]",
		arrayLiteral([]any{want, nil}), arrayLiteral([]any{int64(1), int64(2)})).Scan(&got, &n, &null)
	if err != nil || got != want || n != 2 || null != nil {
		t.Errorf("%q, %d, %v, %v", got, n, null, err)
	}
}

// What a run costs is measured on both sides, of whoever has whole runs.
func TestCostsAreMeasured(t *testing.T) {
	for _, c := range contestants {
		if c.open == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			v, err := runRuns(t.Context(), task{
				Cell: cellRuns, Contestant: c.name, URL: pgtest.New(t).AccessURL(t, pgtest.PGX), Concurrent: 8, Window: 200 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{runsPerSecond, clientCPU + perRun, serverCPU + perRun, peakMB} {
				if v[name] <= 0 {
					t.Errorf("%s: %v", name, v[name])
				}
			}
		})
	}
}

// The window is as long as wanted, longer where runs are, and not for ever.
func TestWindowFor(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: time.Second, 250 * time.Millisecond: time.Second, time.Second: 4 * time.Second, time.Minute: 6 * time.Second,
	} {
		if got := windowFor(time.Second, took); got != want {
			t.Errorf("%s for runs of %s, want %s", got, took, want)
		}
	}
}

// What a worker's process takes counts for the runs, and its memory if it is more; where nothing is counted, it is not either.
func TestWorkersCostsAreAdded(t *testing.T) {
	used := &syscall.Rusage{Utime: syscall.Timeval{Sec: 1}, Stime: syscall.Timeval{Usec: 500_000}, Maxrss: 1_000_000}
	v := values{clientCPU + perRun: 100, peakMB: 50}
	v.add(used, 1000)
	if want := (values{clientCPU + perRun: 1600, peakMB: 1024}); !maps.Equal(v, want) {
		t.Errorf("%v, want %v", v, want)
	}
	v = values{}
	if v.add(used, 1000); len(v) > 0 {
		t.Errorf("%v, want nothing", v)
	}
}
