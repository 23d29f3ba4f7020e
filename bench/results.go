package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are all samples and where they were taken.
type results struct {
	Began       time.Time
	Seconds     float64
	Repetitions int
	Window      time.Duration
	Concurrent  []int
	Steps       int
	Backlog     int
	InFlight    int
	Finished    int
	Waiting     []int
	Children    int
	FanOut      int
	Sleepers    int
	Processes   []int
	PerWorker   int
	Latency     time.Duration
	Payloads    []int
	Payload     time.Duration
	Machine     string
	Processors  int
	Go          string
	Server      string
	Earlier     []earlier `json:",omitempty"` // whence the cells are that were not taken this time
	Samples     []sample
	Failed      []sample `json:",omitempty"` // of peers, without a figure
}

func (m *measuring) describe(ctx context.Context) (*results, error) {
	p := m.plan
	r := &results{
		Began: time.Now().UTC(), Repetitions: p.repetitions, Window: p.window, Concurrent: p.concurrent, Steps: p.steps,
		Backlog: p.backlog, InFlight: p.inFlight, Finished: p.finished,
		Waiting: p.waiting, Children: p.children, FanOut: p.fanOut, Sleepers: p.sleepers,
		Processes: p.processes, PerWorker: p.perWorker, Latency: p.latency,
		Payloads: p.payloads, Payload: p.payload,
		Machine: processor(), Processors: runtime.NumCPU(), Go: runtime.Version(),
	}
	db, err := sql.Open("pgx", p.url)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `
		SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync ' || current_setting('fsync')
		       || ', synchronous_commit ' || current_setting('synchronous_commit')
		       || ', shared_buffers ' || current_setting('shared_buffers')`).Scan(&r.Server)
	return r, err
}

// processor returns the name of the machine's processor where the system tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // elsewhere: no name
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// of returns the values of one name in all repetitions.
func (r *results) of(cell, contestant string, concurrent int, name string) []float64 {
	var all []float64
	for _, s := range r.Samples {
		if s.Cell == cell && s.Contestant == contestant && s.Concurrent == concurrent {
			if v, ok := s.Values[name]; ok {
				all = append(all, v)
			}
		}
	}
	return all
}

// ratio returns how many times as much the one has as the other, by their medians; 0 if one was not measured.
func (r *results) ratio(cell string, concurrent int, name, one, other string) float64 {
	a, b := r.of(cell, one, concurrent, name), r.of(cell, other, concurrent, name)
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	return median(a) / median(b)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(results)
	return r, json.Unmarshal(text, r)
}

// write writes the report into a directory; none if it is empty.
func (r *results) write(dir string) error {
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	return r.charts(dir)
}
