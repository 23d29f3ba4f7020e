package workflow_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A schedule whose runs nobody would execute is shown as such, and named in the log once for as long as that is so. It has its ticks.
func TestSchedulesThatNobodyServes(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	log := b.journaled()
	b.ensure(workflow.Queue{Name: "strange"})
	b.svc = b.service(func(c *workflow.Config) { c.Logger, c.Serve = slog.New(log), []string{workflow.NoQueue} })
	w, known := nightly(nil), workflow.Define("known", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(known)
	for _, name := range []string{"forgotten", "forgotten, paused"} {
		kit.Must(t, w.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: name, Cron: forever.Cron}, 1))
	}
	kit.Must(t, b.svc.PauseSchedule(t.Context(), "forgotten, paused"))
	kit.Must(t, known.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "good", Cron: forever.Cron}, 1))
	kit.Must(t, known.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "queued", Cron: forever.Cron}, 1, workflow.WithQueue("strange")))
	kit.Work(t, b.svc)

	const says = "has registered the workflow of a schedule"
	kit.Until(t, "both are named", func() bool {
		return len(log.all(slog.LevelWarn, says, "forgotten")) > 0 && len(log.all(slog.LevelWarn, says, "queued")) > 0
	})
	for _, schedule := range []string{"forgotten", "forgotten, paused", "queued", "good"} {
		if got := b.schedule(schedule); got.Unserved != (schedule != "good") {
			t.Errorf("%s: unserved is %t", schedule, got.Unserved)
		}
	}
	if got := b.ticked("forgotten", time.Millisecond); got.Started != 1 {
		t.Errorf("it has no run: %+v", got)
	}
	first := log.all(slog.LevelWarn, says)
	kit.Until(t, "other lines come as often as they do", func() bool { return len(log.all(slog.LevelWarn, "runs wait for workflows")) >= 2 })
	if all := log.all(slog.LevelWarn, says); len(first) != 2 || len(all) != 2 {
		t.Errorf("named %d times, and later %d times: %v", len(first), len(all), all)
	}
}

// What this process cannot read is named once, left to others, and keeps no other schedule waiting. Once it is mended it goes on.
func TestScheduleThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	log := b.journaled()
	w := nightly(nil)
	b.svc.Register(w)
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "strange", Cron: forever.Cron, Zone: "Europe/Berlin"}, 1))
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "good", Cron: forever.Cron}, 1))
	kit.Exec(t, b.db, `UPDATE workflows.workflow_schedules SET zone = 'Mars/Olympus' WHERE name = 'strange'`)
	b.due("strange", time.Second)
	kit.Work(t, b.svc)
	kit.Until(t, "it is named", func() bool { return len(log.all(slog.LevelWarn, "strange", "Mars/Olympus", "time/tzdata")) > 0 })
	for range 3 {
		b.ticked("good", time.Millisecond)
	}
	if got := b.schedule("strange"); got.Started != 0 || got.Skipped != (workflow.Skips{}) {
		t.Errorf("%+v", got)
	}
	if all := log.all(slog.LevelWarn, "strange"); len(all) != 1 {
		t.Errorf("it is named %d times: %v", len(all), all)
	}
}

// The statements of the documents pause, resume and trigger a schedule.
func TestSchedulesFromSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := nightly(nil)
	b.svc.Register(w)
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, forever, 1))
	statements := documented(t, "Schedules")
	kit.Exec(t, b.db, statements[0])
	if b.schedule("nightly").PausedAt.IsZero() {
		t.Error("it is not paused")
	}
	kit.Exec(t, b.db, statements[1])
	kit.Exec(t, b.db, statements[2])
	kit.Work(t, b.svc)
	kit.Until(t, "it has started a run", func() bool { return b.schedule("nightly").Started == 1 })
	kit.Exec(t, b.db, `UPDATE workflows.workflow_schedules SET missed = 3`)
	if names := kit.Column[string](t, b.db, "SELECT name FROM ("+statements[3]+") AS found"); len(names) != 1 {
		t.Errorf("schedules with trouble: %q", names)
	}
}
