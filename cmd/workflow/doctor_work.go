package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// The checks of what is worked at.

const (
	longStep = 5 * time.Minute
	longLag  = time.Minute
)

// working says who is there, and what those that are gone have left.
func (d *diagnosis) working(ctx context.Context) (err error) {
	if d.workers, err = d.service.ListWorkers(ctx); err != nil {
		return err
	}
	var alive, executing, gone int
	var left []string
	versions := make(map[string]bool)
	for i := range d.workers {
		w := &d.workers[i]
		switch {
		case w.Alive:
			alive++
			executing += w.Executing
			versions[w.Version] = true
		case w.Executing > 0 && d.c.clock().Sub(w.LeaseUntil) > longLock:
			left = append(left, fmt.Sprintf("%s, gone for %s, with %s", process(w), age(d.c.clock().Sub(w.LeaseUntil)), numbered(int64(w.Executing), "run")))
		default:
			gone++
		}
	}
	text := fmt.Sprintf("%s alive, executing %s", numbered(int64(alive), "worker"), numbered(int64(executing), "run"))
	if len(versions) > 1 {
		text += fmt.Sprintf(", of %d versions", len(versions))
	}
	if gone > 0 {
		text += fmt.Sprintf("; %d stopped or died within the last hour", gone)
	}
	switch {
	case len(left) > 0:
		d.found("workers", bad, text+". Nobody has taken over the runs of "+strings.Join(left, "; ")+".", "Start a process that registers their workflows.")
	case alive == 0:
		d.found("workers", bad, text+".", "Start a process that works (Service.Work): until then no run moves.")
	default:
		d.found("workers", ok, text+".")
	}
	return nil
}

func process(w *workflow.Worker) string {
	if w.Host == "" {
		return "worker " + printable(w.ID)
	}
	return fmt.Sprintf("process %d on %s", w.PID, printable(w.Host))
}

// hanging names steps that have been in flight for long.
func (d *diagnosis) hanging(ctx context.Context) error {
	steps, err := d.service.StepsInFlight(ctx, "")
	if err != nil {
		return err
	}
	var texts, advice []string
	for _, step := range steps {
		if step.For < longStep {
			break
		}
		if len(texts) < 3 {
			texts = append(texts, fmt.Sprintf("%q of run %s for %s in process %d on %s",
				printable(step.Step), printable(step.RunID), age(step.For), step.PID, printable(step.Host)))
			advice = append(advice, d.c.command("why", step.RunID))
		}
	}
	if len(texts) == 0 {
		d.found("steps", ok, "None has been in flight for longer than "+short(longStep)+".")
		return nil
	}
	d.found("steps", warn, "In flight for long: "+strings.Join(texts, "; ")+".", advice...)
	return nil
}

// runs counts them, and finds those that nobody will execute.
func (d *diagnosis) runs(ctx context.Context) error {
	stats, err := d.service.Stats(ctx)
	if err != nil {
		return err
	}
	text := counts(stats)
	state, advice := ok, []string(nil)
	if stats.Lag > longLag {
		state = warn
		text += fmt.Sprintf("; the oldest without a queue has waited to be claimed for %s", age(stats.Lag))
		advice = append(advice, d.c.command("why", "--status", "pending"))
	}
	if n := stats.Suspended[workflow.SuspendedBlocked]; n > 0 {
		state = warn
		text += "; blocked ones meet code that does not fit their record"
		advice = append(advice, d.c.command("why", "--suspended-for", "blocked"))
	}
	d.found("runs", state, text+".", advice...)
	return d.unknown(ctx)
}

// counts is how many runs there are, by status.
func counts(stats workflow.Stats) string {
	var parts []string
	for _, status := range allStatuses {
		part := fmt.Sprintf("%d %s", stats.Runs[status], status)
		if status == workflow.RunSuspended && stats.Runs[status] > 0 {
			var why []string
			for _, reason := range reasons {
				if n := stats.Suspended[reason]; n > 0 {
					why = append(why, fmt.Sprintf("%d %s", n, reason))
				}
			}
			part += " (" + strings.Join(why, ", ") + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// unknown names the workflows of pending runs that no living worker has registered, among the newest.
func (d *diagnosis) unknown(ctx context.Context) error {
	page, err := d.service.ListRuns(ctx, workflow.RunFilter{Statuses: []workflow.RunStatus{workflow.RunPending}, Limit: pageSize, MaxLook: 10 * frameLook})
	if err != nil {
		return err
	}
	waiting := make(map[string]int)
	for i := range page.Runs {
		if run := &page.Runs[i]; !run.RunAt.IsZero() && run.RunAt.Before(d.c.clock()) {
			waiting[run.Workflow]++
		}
	}
	for i := range d.workers {
		if d.workers[i].Alive {
			for _, name := range d.workers[i].Workflows {
				delete(waiting, name)
			}
		}
	}
	var names []string
	for name, n := range waiting {
		names = append(names, fmt.Sprintf("%q (%d)", printable(name), n))
	}
	if slices.Sort(names); len(names) > 0 {
		d.found("runs", warn, "Pending runs of workflows that no living worker has registered: "+strings.Join(names, ", ")+".",
			"Start a process that registers them. Was one renamed in a deploy?")
	}
	return nil
}

func (d *diagnosis) queues(ctx context.Context) error {
	queues, err := d.service.LookAtQueues(ctx)
	if err != nil {
		return err
	}
	var texts, advice []string
	for i := range queues {
		q := &queues[i]
		switch {
		case !q.PausedAt.IsZero():
			texts = append(texts, fmt.Sprintf("%q is paused for %s, and %d wait", printable(q.Name), age(d.c.clock().Sub(q.PausedAt)), q.Waiting))
			advice = append(advice, d.c.command("queues", "resume", q.Name))
		case q.Lag > longStep:
			texts = append(texts, fmt.Sprintf("%q is behind by %s: %d run, %d wait", printable(q.Name), age(q.Lag), q.Running, q.Waiting))
			advice = append(advice, d.c.command("why", "--queue", q.Name, "--status", "pending"))
		}
	}
	if len(texts) == 0 {
		d.found("queues", ok, numbered(int64(len(queues)), "queue")+", none paused or behind.")
		return nil
	}
	d.found("queues", warn, strings.Join(texts, "; ")+".", advice...)
	return nil
}

func (d *diagnosis) schedules(ctx context.Context) error {
	schedules, err := d.service.ListSchedules(ctx)
	if err != nil {
		return err
	}
	var texts, advice []string
	for i := range schedules {
		s := &schedules[i]
		name := fmt.Sprintf("%q", printable(s.Name))
		switch {
		case !s.PausedAt.IsZero():
			texts = append(texts, name+" is paused for "+age(d.c.clock().Sub(s.PausedAt)))
			advice = append(advice, d.c.command("schedules", "resume", s.Name))
		case d.c.clock().Sub(s.NextAt) > longLag:
			texts = append(texts, name+" is overdue by "+age(d.c.clock().Sub(s.NextAt))+": nobody works")
		case s.Unserved:
			texts = append(texts, fmt.Sprintf("%s starts runs of %q, which no living worker serves", name, printable(s.Workflow)))
		}
	}
	if len(texts) == 0 {
		d.found("schedules", ok, numbered(int64(len(schedules)), "schedule")+", none paused, overdue or unserved.")
		return nil
	}
	d.found("schedules", warn, strings.Join(texts, "; ")+".", advice...)
	return nil
}

// idleStatements is what an idle worker sends in a second at the defaults: docs/operations.md has the figures.
const idleStatements = 9

// cost measures what the whole database does, beside what idle workers are known to.
func (d *diagnosis) cost(ctx context.Context) error {
	alive := 0
	for i := range d.workers {
		if d.workers[i].Alive {
			alive++
		}
	}
	text := "No worker polls."
	if alive > 0 {
		text = fmt.Sprintf("%s some %d statements a second when idle, at the defaults.", pollers(alive), alive*idleStatements)
	}
	if d.sample == 0 {
		d.found("cost", ok, text)
		return nil
	}
	const ask = `
		SELECT xact_commit + xact_rollback, (pg_current_wal_insert_lsn() - '0/0')::float8
		FROM pg_stat_database
		WHERE datname = current_database()`
	var before, after struct{ transactions, wal float64 }
	if err := d.db.QueryRowContext(ctx, ask).Scan(&before.transactions, &before.wal); err != nil {
		return err
	}
	began := time.Now()
	timer := time.NewTimer(d.sample)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := d.db.QueryRowContext(ctx, ask).Scan(&after.transactions, &after.wal); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	d.found("cost", ok, fmt.Sprintf("%s In %s the database did %.0f transactions a second, and the server wrote %.1f kB of WAL a second.",
		text, lasted(d.sample), (after.transactions-before.transactions)/took, (after.wal-before.wal)/took/1000))
	return nil
}

func pollers(n int) string {
	if n == 1 {
		return "1 worker sends"
	}
	return fmt.Sprintf("%d workers send", n)
}
