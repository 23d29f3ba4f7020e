package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/sqlworkflow/workflow"
)

// watch looks at a schema again and again.
type watch struct {
	c        *cli
	service  *workflow.Service
	flags    *filterFlags
	interval time.Duration

	last    frame
	counted time.Time // when runs were counted, by this process's clock
	took    time.Duration
}

// A frame is what is seen in one look.
type frame struct {
	at        time.Time
	stats     workflow.Stats
	statsAt   time.Time
	workers   []workflow.Worker
	queues    []workflow.QueueState
	inFlight  []workflow.StepInFlight
	still     []workflow.Run
	failed    []workflow.Run
	trouble   error
	stillMore bool // than these: only the newest were looked at
}

const (
	leastBetweenCounts = 10 * time.Second
	shareOfCounts      = 100    // counting takes at most this part of the time
	frameLook          = 10_000 // runs that are looked at for a list of a frame, so that it costs as much among millions
	newestFailures     = 24 * time.Hour
)

func (w *watch) look(ctx context.Context) (f frame, err error) {
	f = frame{at: w.c.clock(), stats: w.last.stats, statsAt: w.last.statsAt}
	if f.statsAt.IsZero() || time.Since(w.counted) >= max(leastBetweenCounts, shareOfCounts*w.took) {
		began := time.Now()
		if f.stats, err = w.service.Stats(ctx); err != nil {
			return f, err
		}
		f.statsAt, w.counted, w.took = f.at, time.Now(), time.Since(began)
	}
	if f.workers, err = w.service.ListWorkers(ctx); err != nil {
		return f, err
	}
	if f.queues, err = w.service.LookAtQueues(ctx); err != nil {
		return f, err
	}
	if f.inFlight, err = w.service.StepsInFlight(ctx, ""); err != nil {
		return f, err
	}
	if f.still, f.stillMore, err = w.c.still(ctx, w.service, w.flags, frameLook); err != nil {
		return f, err
	}
	if f.failed, err = w.failures(ctx); err != nil {
		return f, err
	}
	slices.SortStableFunc(f.queues, func(a, b workflow.QueueState) int { return cmp.Compare(b.Waiting, a.Waiting) })
	w.last = f
	return f, nil
}

// failures are the newest, if the filter does not say otherwise.
func (w *watch) failures(ctx context.Context) ([]workflow.Run, error) {
	filter, err := w.flags.filter(w.c.clock())
	if err != nil || len(filter.Statuses) > 0 && !slices.Contains(filter.Statuses, workflow.RunFailed) || filter.SuspendedFor != "" {
		return nil, err
	}
	filter.Statuses, filter.Limit, filter.MaxLook = []workflow.RunStatus{workflow.RunFailed}, 20, frameLook
	if filter.CreatedFrom.IsZero() {
		filter.CreatedFrom = w.c.clock().Add(-newestFailures)
	}
	page, err := w.service.ListRuns(ctx, filter)
	return page.Runs, err
}

// trouble is the last frame with an error.
func (w *watch) trouble(err error) frame {
	f := w.last
	f.trouble = err
	return f
}

// once prints a frame where nobody watches.
func (w *watch) once(f frame) error {
	width, _ := w.c.size()
	_, err := io.WriteString(w.c.out, strings.Join(w.lines(f, width, 0), "\n")+"\n")
	return err
}

// lines are those of a frame, at most height of them; 0: as many as there are to be told.
func (w *watch) lines(f frame, width, height int) (lines []string) {
	add := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if width > 0 {
			line = runewidth.Truncate(line, width, "…")
		}
		lines = append(lines, line)
	}
	title := fmt.Sprintf("schema %s, %s UTC", w.c.target.schema, f.at.UTC().Format(time.DateTime))
	if height > 0 {
		title += fmt.Sprintf(", every %s, q quits", short(w.interval))
	}
	add("%s", title)
	if f.trouble != nil {
		add("TROUBLE: %s", printable(message(f.trouble)))
	}
	counted := fmt.Sprintf("%s (counted %s ago)", counts(f.stats), age(w.c.clock().Sub(f.statsAt)))
	for _, line := range append(wrapped(counted, width), wrapped(crew(f), width)...) {
		add("%s", line)
	}
	sections := w.sections(f)
	for i, s := range sections {
		rows := len(s.table.rows)
		if height > 0 { // what is left is shared by those that are to come, and a section has two lines of its own
			rows = min(rows, (height-len(lines))/(len(sections)-i)-3)
		} else {
			rows = min(rows, 20)
		}
		if rows < 1 {
			continue
		}
		s.table.rows = s.table.rows[:rows]
		add("")
		add("%s", s.title)
		for _, line := range s.table.lines(width) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if f.stillMore && len(f.still) == 0 {
		add("")
		add("None of the newest runs is unfinished; workflow why looks at all.")
	}
	if height > 0 {
		lines = lines[:min(len(lines), height)]
	}
	return lines
}

// crew says who works.
func crew(f frame) string {
	var alive, executing, gone, left int
	for i := range f.workers {
		w := &f.workers[i]
		switch {
		case w.Alive:
			alive++
			executing += w.Executing
		case w.Executing > 0:
			gone++
			left += w.Executing
		}
	}
	text := fmt.Sprintf("%s alive, executing %s; lag %s", numbered(int64(alive), "worker"), numbered(int64(executing), "run"), age(f.stats.Lag))
	if gone > 0 {
		text += fmt.Sprintf("; %d gone with %s", gone, numbered(int64(left), "run"))
	}
	return text
}

type section struct {
	title string
	table table
}

// sections are those that have something to tell, what hangs first.
func (w *watch) sections(f frame) (all []section) {
	c := w.c
	if len(f.inFlight) > 0 {
		t := table{columns: []column{
			{head: "FOR"}, {head: "STEP", cut: middle, least: 12}, {head: "RUN", cut: middle, least: 20}, {head: "PROCESS", cut: end, least: 8, drop: 1},
		}}
		for _, s := range f.inFlight {
			t.add(age(s.For), printable(s.Step), printable(s.RunID), fmt.Sprintf("%d on %s", s.PID, printable(s.Host)))
		}
		all = append(all, section{"In flight for long:", t})
	}
	if len(f.queues) > 0 {
		all = append(all, section{"Queues:", c.queueTable(f.queues)})
	}
	if len(f.failed) > 0 {
		all = append(all, section{"Newest failures:", c.brief(f.failed)})
	}
	if len(f.still) > 0 {
		title := "Unfinished, those first that have stood still for longest:"
		if f.stillMore {
			title = "Unfinished among the newest runs (workflow why looks at all), those first that have stood still for longest:"
		}
		all = append(all, section{title, c.brief(f.still)})
	}
	for i := range all {
		if !c.colour {
			for j := range all[i].table.columns {
				all[i].table.columns[j].paint = nil
			}
		}
	}
	return all
}

// brief is a table of runs that has a line for each.
func (c *cli) brief(runs []workflow.Run) table {
	t := table{columns: []column{
		{head: "RUN", cut: middle, least: 17}, {head: "WORKFLOW", cut: middle, least: 8}, {head: "STATUS", drop: 1, paint: paintStatus},
		{head: "CHANGED"}, {head: "NOTE", cut: end, least: 12},
	}}
	for _, run := range runs {
		t.add(printable(run.ID), printable(run.Workflow), string(run.Status), c.ago(run.UpdatedAt), note(run))
	}
	return t
}
