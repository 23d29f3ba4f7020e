package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A sample is one measurement.
type sample struct {
	Cell       string
	Contestant string
	Concurrent int `json:",omitempty"`
	Repetition int
	Values     values
	Disturbed  bool `json:",omitempty"` // something else needed the processors, each time that it was tried
}

// measure takes every measurement of the plan.
func (p plan) measure(ctx context.Context) (*results, error) {
	m := &measuring{plan: p, server: server{url: p.url}, took: make(map[string]time.Duration)}
	defer m.server.drop(context.WithoutCancel(ctx))
	r, err := m.describe(ctx)
	if err != nil {
		return nil, err
	}
	for repetition := range p.repetitions {
		for _, round := range p.rounds() {
			if round.repetitions > 0 && repetition >= round.repetitions {
				continue
			}
			began := time.Now()
			for i := range round.contestants {
				// Nobody always comes after the same other one.
				contestant := round.contestants[(i+repetition)%len(round.contestants)]
				s, err := m.take(ctx, round, contestant)
				s.Repetition = repetition + 1
				if err != nil {
					if ctx.Err() != nil || !p.forgives(contestant) {
						return nil, err
					}
					fmt.Fprintf(os.Stderr, "%d/%d  %-16s %4s  %-45s FAILED: %v\n", s.Repetition, p.repetitions, s.Cell, orEmpty(s.Concurrent), s.Contestant, err)
					r.Failed = append(r.Failed, s)
					continue
				}
				r.Samples = append(r.Samples, s)
				fmt.Fprintf(os.Stderr, "%d/%d  %-16s %4s  %-45s %s\n",
					s.Repetition, p.repetitions, s.Cell, orEmpty(s.Concurrent), s.Contestant, s.line())
			}
			m.took[round.cell] += time.Since(began)
		}
	}
	r.Seconds = time.Since(r.Began).Seconds()
	m.tellTimes()
	return r, nil
}

type measuring struct {
	plan   plan
	server server
	grown  string                   // URL of the database with the finished runs
	calm   []float64                // seconds that the fixed work took, so far
	took   map[string]time.Duration // by cell, in all
}

// tellTimes says which cells make the whole take as long as it does.
func (m *measuring) tellTimes() {
	for _, cell := range slices.SortedFunc(maps.Keys(m.took), func(a, b string) int { return cmp.Compare(m.took[b], m.took[a]) }) {
		fmt.Fprintf(os.Stderr, "%-16s took %s\n", cell, m.took[cell].Round(time.Second))
	}
}

// forgives says whether a contestant's failure to work leaves its figure out, instead of ending the whole: a peer may have a
// bad minute.
func (p plan) forgives(contestant string) bool {
	ours := contestant == grownContestant || strings.HasPrefix(contestant, "sqlworkflow") || strings.HasPrefix(contestant, "bare ")
	return p.tries > 1 && !ours
}

// take takes a measurement, several times if it is disturbed or fails.
func (m *measuring) take(ctx context.Context, r round, contestant string) (s sample, err error) {
	s = sample{Cell: r.cell, Contestant: contestant, Concurrent: r.concurrent}
	for try := range m.plan.tries {
		t := task{
			Cell: r.cell, Contestant: contestant, Concurrent: r.concurrent,
			Warmup: m.plan.warmup, Window: m.plan.windowOf(r.cell), Count: m.plan.count(r, contestant), Profile: m.profile(r, contestant, ".pprof"),
		}
		if t.URL, err = m.database(ctx, &t); err != nil {
			return s, err
		}
		before := m.disturbed()
		s.Values, err = withWorkers(ctx, t, r.workers(contestant))
		if err == nil {
			err = m.saveStatements(ctx, t)
		}
		if err != nil && m.plan.forgives(contestant) && try+1 < m.plan.tries && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return s, err
		}
		after := m.disturbed()
		if s.Disturbed = before || after; !s.Disturbed {
			break
		}
	}
	return s, nil
}

// profile returns the name of a file about a measurement, "" if none is wanted.
func (m *measuring) profile(r round, contestant, suffix string) string {
	if m.plan.profiles == "" {
		return ""
	}
	return filepath.Join(m.plan.profiles, strings.NewReplacer(" ", "-", "/", "-", ",", "").Replace(fmt.Sprint(r.cell, " ", r.concurrent, " ", contestant))+suffix)
}

// saveStatements writes beside a profile which statements the server had, and what they took.
func (m *measuring) saveStatements(ctx context.Context, t task) error {
	if t.Profile == "" {
		return nil
	}
	db, err := sql.Open("pgx", t.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	var text string
	err = db.QueryRowContext(ctx, `
		SELECT coalesce(string_agg(format('%s calls, %s ms in all, %s µs each, %s plans of %s µs, %s rows, %s pages, %s bytes of WAL' || E'\n%s\n',
		       calls, total_exec_time::int, (mean_exec_time * 1000)::int, plans, (mean_plan_time * 1000)::int,
		       rows, shared_blks_hit + shared_blks_read, wal_bytes, query), E'\n' ORDER BY total_exec_time + total_plan_time DESC), '')
		FROM pg_stat_statements`).Scan(&text)
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(t.Profile, ".pprof")+".statements", []byte(text), 0o644)
}

// database makes the database of a task.
func (m *measuring) database(ctx context.Context, t *task) (url string, err error) {
	if t.Contestant != grownContestant {
		return m.server.fresh(ctx)
	}
	t.Contestant = oursPGX
	if m.grown == "" {
		m.grown, err = m.server.grow(ctx, m.plan.finished)
	}
	return m.grown, err
}

// disturbed does a fixed piece of work on each processor and reports whether it took much longer than it mostly does.
func (m *measuring) disturbed() bool {
	best := time.Hour
	for range 3 {
		began := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				block := make([]byte, 1<<20)
				for range 16 {
					block[0] = sha256.Sum256(block)[0]
				}
			})
		}
		all.Wait()
		best = min(best, time.Since(began))
	}
	m.calm = append(m.calm, best.Seconds())
	return best.Seconds() > 1.25*median(m.calm)
}

func orEmpty(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// line is a sample on the terminal.
func (s sample) line() string {
	var words []string
	for _, name := range []string{runsPerSecond, startsPerSecond, p50, p99, besideP50, besideP99, foundP50, foundP99, calmP50, calmP99, parksPerSec, wakesPerSec, failuresPerSec, beginsP50, beginsP99, knownP50, knownP99, wal + perRun, written + perRun, sentStatements + perRun, wal, inFlightMB, parkedMB,
		clientCPU + perRun, serverCPU + perRun, peakMB} {
		if v, ok := s.Values[name]; ok {
			words = append(words, fmt.Sprintf("%s %.4g", name, v))
		}
	}
	if s.Disturbed {
		words = append(words, "DISTURBED")
	}
	return strings.Join(words, ", ")
}
