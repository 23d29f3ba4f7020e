// Command bench measures durable runs in this library, in others, and in bare loops of the same statements, on one
// PostgreSQL server, and writes a report. From the root of the project:
//
//	make bench
//
// Each measurement is a process and a database of its own. The contestants take turns within a repetition, so that a machine
// that grows slower slows them all; before and after each measurement a fixed piece of work tells whether something else
// needs the processors, and then it is taken again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

// A plan says how much is measured.
type plan struct {
	url         string
	repetitions int
	tries       int // of a measurement that is disturbed, or a peer fails in
	warmup      time.Duration
	window      time.Duration
	concurrent  []int
	steps       int   // of the run whose steps are timed
	backlog     int   // runs of the queue
	inFlight    int   // runs of the cell on memory
	finished    int   // runs that the grown database holds
	waiting     []int // parents or signals at a time
	children    int   // of a parent
	sleepers    int   // that are due at once
	fanOut      int   // children of the one parent beside the finished runs
	processes   []int // that execute a queue
	perWorker   int   // runs for each of them
	latency     time.Duration
	payloads    []int         // runs with large results at a time
	payload     time.Duration // for which they are measured
	only        string
	contestant  *regexp.Regexp
	profiles    string
	out         string
}

var whole = plan{
	repetitions: 3, tries: 2, warmup: time.Second, window: 2 * time.Second, concurrent: []int{1, 8, 32, 128, 512},
	steps: 3000, backlog: 20_000, inFlight: 10_000, finished: 1_000_000,
	waiting: []int{1, 32}, children: 100, fanOut: 1000, sleepers: 30_000,
	processes: []int{1, 2, 4, 8}, perWorker: 1500, latency: 4 * time.Second,
	payloads: []int{8, 32}, payload: 2 * time.Second,
}

// smoke shows that everything runs. Its figures mean nothing.
var smoke = plan{
	repetitions: 1, tries: 1, warmup: 50 * time.Millisecond, window: 150 * time.Millisecond, concurrent: []int{1, 8},
	steps: 50, backlog: 300, inFlight: 200, finished: 500,
	waiting: []int{4}, children: 10, fanOut: 50, sleepers: 300,
	processes: []int{2}, perWorker: 100, latency: 100 * time.Millisecond,
	payloads: []int{8}, payload: 500 * time.Millisecond,
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "-child" {
		if err := child(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	p := whole
	short := flag.Bool("smoke", false, "take each measurement once and briefly, to see that it works")
	only := flag.String("only", "", "take only these cells, with commas between them: "+strings.Join(cellNames, ", "))
	contestant := flag.String("contestant", "", "measure only contestants in whose name this regular expression is found")
	concurrent := flag.Int("concurrent", 0,
		"measure whole runs, parents and signals only with this many at a time, queues with this many processes")
	profiles := flag.String("profiles", "", "directory for CPU profiles and the server's statements; none if empty")
	out := flag.String("out", "", "directory for RESULTS.md, results.json and the charts; none if empty")
	render := flag.String("render", "", "write the report of this results.json again, without a measurement")
	others := flag.String("keep", "", "with -only: a results.json from which the other cells are, which the report says")
	repetitions := flag.Int("repetitions", 0, "how often each measurement is taken, at most (3)")
	flag.Parse()
	if *render != "" {
		r, err := readResults(*render)
		if err != nil {
			return err
		}
		return r.write(*out)
	}
	if *short {
		p = smoke
	}
	if *repetitions > 0 {
		p.repetitions = *repetitions
	}
	if *concurrent > 0 {
		p.concurrent, p.waiting, p.processes, p.payloads = []int{*concurrent}, []int{*concurrent}, []int{*concurrent}, []int{*concurrent}
	}
	var err error
	if p.contestant, err = regexp.Compile(*contestant); err != nil {
		return err
	}
	p.only, p.profiles, p.out, p.url = *only, *profiles, *out, os.Getenv("DATABASE_URL")
	if *others != "" && (*contestant != "" || *concurrent > 0) {
		return errors.New("-keep replaces whole cells: with -contestant or -concurrent their other figures would be lost")
	}
	if err := p.knowsCells(); err != nil {
		return err
	}
	if p.url == "" {
		return errors.New("DATABASE_URL is empty: it must name a database on a server where databases may be created, as make bench does")
	}
	var before *results
	if *others != "" {
		if before, err = readResults(*others); err != nil {
			return err
		}
	}
	r, err := p.measure(ctx)
	if err != nil {
		return err
	}
	if before != nil {
		r.keep(before)
	}
	fmt.Println()
	fmt.Println(r.markdown())
	return r.write(p.out)
}

// knowsCells refuses a name in -only that is no cell's: nothing would be measured for it.
func (p plan) knowsCells() error {
	for name := range strings.SplitSeq(p.only, ",") {
		if name != "" && !slices.Contains(cellNames, name) {
			return fmt.Errorf("-only: there is no cell %q; the cells are %s", name, strings.Join(cellNames, ", "))
		}
	}
	return nil
}
