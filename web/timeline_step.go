package web

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// kinds are what the steps of the engine are called.
var kinds = map[workflow.StepKind]string{
	workflow.TxStep: "transaction", workflow.SleepStep: "sleep", workflow.SignalStep: "signal", workflow.PollStep: "poll",
	workflow.ApprovalStep: "approval", workflow.CallStep: "call", workflow.SpawnStep: "spawn", workflow.AttributesStep: "attributes",
	workflow.PatchStep: "patch",
}

// waits are the kinds whose time is one of waiting, not of work.
var waits = map[workflow.StepKind]bool{
	workflow.SleepStep: true, workflow.SignalStep: true, workflow.ApprovalStep: true, workflow.CallStep: true,
}

// step is a row of one. Of an attempt that has failed only its end is known; of the newest one also its beginning.
func (s scale) step(step workflow.Step, sees bool) timelineRow {
	end := step.UpdatedAt
	row := timelineRow{
		Name: step.Name, Kind: kinds[step.Kind], Badge: stepBadge(step, s.over),
		Err: errorViewOf(step.Err), Result: payloadOf(step.Result, sees), Request: payloadOf(step.Request, sees),
	}
	if !step.StartedAt.IsZero() {
		row.Started = exact(step.StartedAt)
	}
	switch {
	case step.Kind == workflow.SleepStep:
		end = s.sleep(&row, step)
	case step.Status == workflow.StepScheduled, step.Status == workflow.StepRunning:
		end = s.now
		if s.over {
			end = s.to
		}
	case !step.UpdatedAt.IsZero():
		row.Ended = exact(step.UpdatedAt)
	}
	if step.Attempts != nil {
		s.attempts(&row, step)
	}
	row.Bars = append(row.Bars, s.bar(barOf(step, row.Badge), row.Badge.Label, step.StartedAt, end)...)
	if step.StartedAt.IsZero() && !step.UpdatedAt.IsZero() { // written by the state API
		row.Marks = append(row.Marks, mark{percents(s.percent(step.UpdatedAt)), row.Badge.Label + " " + exact(step.UpdatedAt)})
	}
	if !step.StartedAt.IsZero() {
		row.Took = span(end.Sub(s.began(step)))
	}
	if step.ChildID != "" {
		row.Child, row.ChildID = runURL(step.ChildID), step.ChildID
	}
	if step.Waiting > 0 {
		row.Note = plural(step.Waiting, "run") + " not ended"
	}
	if step.Status == workflow.StepScheduled && step.Kind != workflow.SleepStep && !step.WakeAt.IsZero() && !s.over {
		row.Note = joined(row.Note, "until "+momentOf(step.WakeAt, s.now).Text)
	}
	return row
}

// sleep ends when it was to, or now. Its row was written when it began.
func (s scale) sleep(row *timelineRow, step workflow.Step) time.Time {
	switch {
	case step.WakeAt.IsZero():
		return step.UpdatedAt
	case step.WakeAt.Before(s.now) && (!s.over || step.WakeAt.Before(s.to)):
		row.Ended = exact(step.WakeAt)
		return step.WakeAt
	case s.over:
		return s.to
	}
	row.Note = "until " + exact(step.WakeAt) + ", " + momentOf(step.WakeAt, s.now).Text
	return s.now
}

// began is the first that is known of a step.
func (s scale) began(step workflow.Step) time.Time {
	if step.Attempts != nil && len(step.Attempts.Failures) > 0 && step.Attempts.Failures[0].At.Before(step.StartedAt) {
		return step.Attempts.Failures[0].At
	}
	return step.StartedAt
}

// attempts marks the failed ones, and the time between them.
func (s scale) attempts(row *timelineRow, step workflow.Step) {
	limit := step.Attempts.Policy.MaxAttempts
	row.Attempts = plural(step.Attempts.Count, "failed attempt")
	if limit > 0 {
		row.Attempts += fmt.Sprintf(" of at most %d", limit)
	}
	if step.Status == workflow.StepPending && step.WakeAt.After(s.now) && !s.over {
		row.Note = "next attempt " + momentOf(step.WakeAt, s.now).Text
	}
	failures := step.Attempts.Failures
	for i, failure := range failures {
		view := failureView{At: momentOf(failure.At, s.now)}
		if failure.Err != nil {
			view.errorView = *errorViewOf(failure.Err)
		}
		row.Failures = append(row.Failures, view)
		row.Marks = append(row.Marks, mark{percents(s.percent(failure.At)), "failed " + exact(failure.At) + ": " + cut(view.Message, 120)})
		next := step.StartedAt // of the newest attempt, which may be the one that failed last
		if i+1 < len(failures) {
			next = failures[i+1].At
		} else if step.Status == workflow.StepPending && !s.over {
			next = s.now
		}
		row.Bars = append(row.Bars, s.bar("retry", "until the next attempt", failure.At, next)...)
	}
}

// waited is when each wait for a signal without a limit began, whose row is not written before it ends: when the step before it in its branch
// had ended. The key "" is when the last step of all had.
func (s scale) waited(k known) map[string]time.Time {
	ends, began := make(map[string]time.Time), make(map[string]time.Time)
	began[""] = k.run.CreatedAt
	for _, step := range k.steps {
		branch := ""
		if i := strings.LastIndexByte(step.Name, '/'); i >= 0 {
			branch = step.Name[:i]
		}
		before, isAfter := ends[branch]
		if !isAfter {
			before = k.run.CreatedAt
		}
		if step.Kind == workflow.SignalStep && step.Status == workflow.StepSucceeded && step.StartedAt.Equal(step.UpdatedAt) {
			began[step.Name] = before
		}
		ends[branch] = step.UpdatedAt
		if step.Kind == workflow.SleepStep && step.WakeAt.After(step.UpdatedAt) {
			ends[branch] = step.WakeAt
		}
		if ends[branch].After(began[""]) {
			began[""] = ends[branch]
		}
	}
	return began
}

// open are the waits for signals that go on and have no row yet.
func (s scale) open(k known, began map[string]time.Time) (rows []timelineRow) {
	if s.over {
		return nil
	}
	for _, name := range awaited(k) {
		rows = append(rows, timelineRow{
			Name: name, Kind: kinds[workflow.SignalStep], Badge: badge{Kind: "waiting", Label: "waits"},
			Bars: s.bar("waiting", "waits", began[""], s.now), Took: span(s.now.Sub(began[""])),
		})
	}
	return rows
}

// awaited are the names of the signals that a run waits for without a limit.
func awaited(k known) (names []string) {
	for _, cause := range k.run.WaitsFor {
		name, is := strings.CutPrefix(cause, "signal:")
		has := slices.ContainsFunc(k.steps, func(step workflow.Step) bool {
			return step.Kind == workflow.SignalStep && step.Status == workflow.StepScheduled && path.Base(step.Name) == name
		})
		if is && !has && !strings.Contains(name, ":") {
			names = append(names, name)
		}
	}
	return names
}

func barOf(step workflow.Step, b badge) string {
	if waits[step.Kind] && b.Kind != "failed" {
		return "waiting"
	}
	return b.Kind
}

// stepBadge is a step's status. One that waits in a run that is over waits no more.
func stepBadge(step workflow.Step, over bool) badge {
	switch {
	case step.Status == workflow.StepSucceeded:
		return badge{Kind: "completed", Label: "succeeded"}
	case step.Status == workflow.StepFailed:
		return badge{Kind: "failed", Label: "failed"}
	case over:
		return badge{Kind: "cancelled", Label: "not finished"}
	case step.Status == workflow.StepRunning:
		return badge{Kind: "running", Label: "running"}
	case step.Status == workflow.StepPending && step.Attempts != nil:
		return badge{Kind: "blocked", Label: "retries"}
	case waits[step.Kind]:
		return badge{Kind: "waiting", Label: "waits"}
	default:
		return badge{Kind: "pending", Label: string(step.Status)}
	}
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}
