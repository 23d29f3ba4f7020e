package web

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A timeline is a run's steps and children over the time of the run, to scale.
type timeline struct {
	Ticks []tick
	Rows  []timelineRow
	Left  string // what is not shown
	From  string // when it begins, exactly
	Span  string // how long it is
}

// A tick is a line across, with how long that is after the run was created.
type tick struct{ X, Label string }

type timelineRow struct {
	Anchor   string // of the row in the page
	Name     string
	Kind     string // what kind of step; "" for a plain one
	Badge    badge
	Bars     []bar
	Marks    []mark
	Took     string
	Started  string
	Ended    string
	Note     string
	Child    string // address of the run that it has started
	ChildID  string
	IsRun    bool // a child
	Attempts string
	Failures []failureView
	Err      *errorView
	Result   payload
	Request  payload
}

// A bar is a part of the time, in percent.
type bar struct{ Kind, X, Width, Says string }

// A mark is a moment, in percent.
type mark struct{ X, Says string }

type failureView struct {
	At moment
	errorView
}

// rowsShown is how many steps a timeline has.
const rowsShown = 500

// A scale turns times into percents of the whole.
type scale struct {
	from, to time.Time
	now      time.Time
	over     bool // the run is: what was waited for is not any more
}

func (s scale) percent(at time.Time) float64 {
	whole := s.to.Sub(s.from)
	return min(max(100*float64(at.Sub(s.from))/float64(whole), 0), 100)
}

func percents(p float64) string { return fmt.Sprintf("%.3f%%", p) }

// bar is from one time to another; none of what is not known.
func (s scale) bar(kind, says string, from, to time.Time) []bar {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return nil
	}
	x := s.percent(from)
	return []bar{{kind, percents(x), percents(s.percent(to) - x), says + ": " + span(to.Sub(from))}}
}

func timelineOf(k known, now time.Time, sees bool) timeline {
	s := scaleOf(k, now)
	t := timeline{Ticks: ticksOf(s), From: exact(s.from), Span: span(s.to.Sub(s.from))}
	flight := make(map[string]workflow.StepInFlight)
	for _, step := range k.flight {
		flight[step.Step] = step
	}
	children := make(map[string][]workflow.Run)
	for i := len(k.children.Runs) - 1; i >= 0; i-- { // oldest first
		child := k.children.Runs[i]
		children[child.ParentStep] = append(children[child.ParentStep], child)
	}
	steps := k.steps
	if len(steps) > rowsShown {
		t.Left = fmt.Sprintf("The last %d of %s steps.", rowsShown, count(len(steps)))
		steps = steps[len(steps)-rowsShown:]
	}
	waited := s.waited(k)
	for _, step := range steps {
		if from, is := waited[step.Name]; is {
			step.StartedAt = from
		}
		in, isIn := flight[step.Name]
		delete(flight, step.Name)
		row := s.step(step, sees)
		if isIn {
			row.inFlight(s, in)
		}
		t.Rows = append(t.Rows, row)
		t.Rows = append(t.Rows, s.runs(children[step.Name])...)
		delete(children, step.Name)
	}
	t.Rows = append(t.Rows, s.open(k, waited)...)
	for _, in := range k.flight { // first attempts, of which nothing is recorded yet
		if _, left := flight[in.Step]; left {
			row := timelineRow{Name: in.Step}
			row.inFlight(s, in)
			t.Rows = append(t.Rows, row)
		}
	}
	for i := len(k.children.Runs) - 1; i >= 0; i-- {
		if step := k.children.Runs[i].ParentStep; children[step] != nil {
			t.Rows = append(t.Rows, s.runs(children[step])...)
			delete(children, step)
		}
	}
	for i := range t.Rows {
		t.Rows[i].Anchor = anchorOf(t.Rows[i].Name + " " + t.Rows[i].ChildID)
	}
	return t
}

// anchorOf is an id in the page that stays with the row when others come before it: the script keeps open what is.
func anchorOf(key string) string {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(key)) // never fails
	return fmt.Sprintf("row-%x", hash.Sum64())
}

// scaleOf spans all that is known of the run. A run that has not ended goes on until now.
func scaleOf(k known, now time.Time) scale {
	s := scale{k.run.CreatedAt, endOf(k.run, now), now, k.run.Status.Finished()}
	for _, step := range k.steps {
		if !step.StartedAt.IsZero() && step.StartedAt.Before(s.from) {
			s.from = step.StartedAt
		}
		if step.UpdatedAt.After(s.to) {
			s.to = step.UpdatedAt
		}
	}
	if !s.to.After(s.from.Add(time.Millisecond)) {
		s.to = s.from.Add(time.Millisecond)
	}
	return s
}

// runs are the children of a step.
func (s scale) runs(children []workflow.Run) []timelineRow {
	rows := make([]timelineRow, len(children))
	for i, child := range children {
		end := endOf(child, s.now)
		b := badgeOf(child.Status, child.SuspendedFor)
		rows[i] = timelineRow{
			Name: child.Workflow, IsRun: true, Badge: b, Bars: s.bar(b.Kind, b.Label, child.CreatedAt, end),
			Took: span(end.Sub(child.CreatedAt)), Child: runURL(child.ID), ChildID: child.ID, Err: errorViewOf(child.Err),
			Started: exact(child.CreatedAt),
		}
	}
	return rows
}

// inFlight is what a worker says of a step that it executes.
func (t *timelineRow) inFlight(s scale, in workflow.StepInFlight) {
	t.Badge = badge{Kind: "running", Label: "in flight"}
	t.Bars = append(t.Bars, s.bar("running", "in flight", in.Since, s.now)...)
	t.Took = span(in.For)
	t.Started = exact(in.Since)
	t.Note = fmt.Sprintf("worker %s, process %d on %s", in.Worker, in.PID, in.Host)
}

// distances are those that ticks may have.
var distances = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
	14 * 24 * time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour, 365 * 24 * time.Hour,
}

// ticksOf has at most five lines besides the ends.
func ticksOf(s scale) []tick {
	whole := s.to.Sub(s.from)
	distance := whole
	for _, d := range distances {
		if whole/d <= 5 {
			distance = d
			break
		}
	}
	var ticks []tick
	for at := time.Duration(0); at <= whole && len(ticks) <= 6; at += distance {
		label := "0"
		if at > 0 {
			label = span(at)
		}
		ticks = append(ticks, tick{percents(s.percent(s.from.Add(at))), label})
	}
	return ticks
}
