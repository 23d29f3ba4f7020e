package workflow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// schedule returns a schedule as it stands.
func (b *bench) schedule(name string) workflow.ScheduleState {
	b.t.Helper()
	schedule, err := b.svc.GetSchedule(b.t.Context(), name)
	kit.Must(b.t, err)
	return schedule
}

// due makes a schedule's next tick have come so long ago.
func (b *bench) due(name string, ago time.Duration) {
	b.t.Helper()
	kit.Exec(b.t, b.db, `UPDATE workflows.workflow_schedules SET next_at = (extract(epoch FROM now()) * 1000)::bigint - $2 WHERE name = $1`,
		name, ago.Milliseconds())
}

// ticked makes a schedule's next tick have come so long ago, and waits until that has been seen to.
func (b *bench) ticked(name string, ago time.Duration) workflow.ScheduleState {
	b.t.Helper()
	b.due(name, ago)
	kit.Until(b.t, "the tick has been seen to", func() bool {
		return kit.One[bool](b.t, b.db, `
			SELECT next_at > extract(epoch FROM now()) * 1000 FROM workflows.workflow_schedules WHERE name = $1`, name)
	})
	return b.schedule(name)
}

// runsOf returns the inputs of a schedule's runs with their statuses, in the order in which they were started.
func (b *bench) runsOf(name string) []string {
	b.t.Helper()
	return kit.Column[string](b.t, b.db, `
		SELECT (input #>> '{}') || ' ' || status FROM workflows.workflow_runs WHERE id LIKE $1 || '/%' ORDER BY created_at, id`, name)
}

// forever are times that do not come while a test runs.
var forever = workflow.Schedule{Name: "nightly", Cron: "30 2 29 2 *", Zone: "Europe/Berlin"}

func nightly(fn func(context.Context, int) (int, error)) *workflow.Workflow[int, int] {
	if fn == nil {
		fn = func(_ context.Context, n int) (int, error) { return n, nil }
	}
	return workflow.Define("nightly", fn)
}

// untilReleased waits for a signal.
func untilReleased(ctx context.Context, n int) (int, error) {
	_, err := workflow.DefineSignal[int]("release").Wait(ctx, 0)
	return n, err
}

// A schedule is what was set last; ensuring it changes nothing, and setting its times anew computes its next tick.
func TestScheduleIsAsItWasSet(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		w := nightly(nil)
		b.ensure(workflow.Queue{Name: "night"})
		full := workflow.Schedule{
			Name: "a", Cron: "30 2 * * MON-FRI", Zone: "Europe/Berlin",
			CatchUp: time.Hour, Overlap: workflow.OverlapCancelOther, Jitter: time.Minute,
		}
		kit.Must(t, w.EnsureSchedule(ctx, b.svc, full, 7, workflow.WithQueue("night"), workflow.WithPriority(workflow.PriorityLow),
			workflow.WithPartition("p"), workflow.WithDeadline(time.Hour)))
		kit.Must(t, w.EnsureSchedule(ctx, b.svc, workflow.Schedule{Name: "a", Every: time.Hour}, 8))
		kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "b", Every: 90 * time.Minute}, 9))
		kit.Must(t, w.SetSchedule(ctx, b.svc, full, 1))
		kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "a", Cron: full.Cron, Zone: full.Zone, CatchUp: time.Hour}, 2,
			workflow.WithQueue("night"), workflow.WithDeadline(time.Hour)))
		kit.Must(t, b.svc.PauseSchedule(ctx, "b"))
		kit.Must(t, b.svc.PauseSchedule(ctx, "b"))
		kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "b", Every: 2 * time.Hour}, 9))

		got, err := b.svc.ListSchedules(ctx)
		kit.Must(t, err)
		want := []workflow.ScheduleState{{
			Schedule: workflow.Schedule{Name: "a", Cron: full.Cron, Zone: full.Zone, CatchUp: time.Hour, Overlap: workflow.OverlapSkip},
			Workflow: "nightly", Input: json.RawMessage("2"), Queue: "night", Deadline: time.Hour, Unserved: true,
		}, {
			Schedule: workflow.Schedule{Name: "b", Every: 2 * time.Hour, Overlap: workflow.OverlapSkip},
			Workflow: "nightly", Input: json.RawMessage("9"), Unserved: true,
		}}
		times := cmpopts.IgnoreFields(workflow.ScheduleState{}, "NextAt", "PausedAt", "CreatedAt", "UpdatedAt")
		if diff := cmp.Diff(want, got, times); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		berlin, err := time.LoadLocation("Europe/Berlin")
		kit.Must(t, err)
		if next := got[0].NextAt.In(berlin); next.Format("15:04") != "02:30" || next.Weekday()%6 == 0 || time.Until(next) > 73*time.Hour {
			t.Errorf("next tick of a is %s", next)
		}
		if next := got[1].NextAt.UTC(); !next.Equal(next.Truncate(2*time.Hour)) || time.Until(next) > 2*time.Hour+time.Minute {
			t.Errorf("next tick of b is %s", next)
		}
		if !got[0].PausedAt.IsZero() || got[1].PausedAt.IsZero() || got[1].CreatedAt.IsZero() || got[1].UpdatedAt.Before(got[1].CreatedAt) {
			t.Errorf("paused, created, updated: %+v", got)
		}
		kit.Must(t, b.svc.ResumeSchedule(ctx, "b"))
		kit.Must(t, b.svc.ResumeSchedule(ctx, "b"))
		kit.Must(t, b.svc.DeleteSchedule(ctx, "a"))
		_, err = b.svc.GetSchedule(ctx, "a")
		kit.WantIs(t, err, workflow.ErrScheduleNotFound)
		if b := b.schedule("b"); !b.PausedAt.IsZero() {
			t.Errorf("b is paused since %s", b.PausedAt)
		}
	})
}

// A tick that is due stays so when a program that sets its schedules at each start sets the same times.
func TestSettingAgainLosesNoTick(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := nightly(nil)
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, forever, 1))
	b.due("nightly", time.Second)
	before := b.schedule("nightly").NextAt
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, forever, 2))
	if got := b.schedule("nightly"); !got.NextAt.Equal(before) || string(got.Input) != "2" {
		t.Errorf("next tick %s, input %s; want %s, 2", got.NextAt, got.Input, before)
	}
	b.svc.Register(w)
	kit.Work(t, b.svc)
	kit.Until(t, "the run is completed", func() bool { return cmp.Equal(b.runsOf("nightly"), []string{"2 completed"}) })
}

// In a transaction a schedule, and a run that is triggered, exist if and only if that commits.
func TestScheduleInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ctx, w := t.Context(), nightly(nil)
		b.svc.Register(w)
		kit.Work(t, b.svc)
		tx := kit.Begin(t, b.db)
		kit.Must(t, w.SetSchedule(ctx, b.svc.In(tx), forever, 1))
		_, err := b.svc.In(tx).TriggerSchedule(ctx, "nightly")
		kit.Must(t, err)
		kit.Must(t, tx.Rollback())
		if all, err := b.svc.ListSchedules(ctx); err != nil || len(all)+len(b.runsOf("nightly")) > 0 {
			t.Fatalf("after a rollback: %v, %v", all, err)
		}
		tx = kit.Begin(t, b.db)
		kit.Must(t, w.EnsureSchedule(ctx, b.svc.In(tx), forever, 1))
		id, err := b.svc.In(tx).TriggerSchedule(ctx, "nightly")
		kit.Must(t, err)
		kit.Must(t, tx.Commit())
		b.svc.Wake()
		run, err := b.svc.AwaitRun(kit.Context(t), id)
		kit.Must(t, err)
		if got := b.schedule("nightly"); string(run.Output) != "1" || got.LastRunID != id || got.Started != 1 || got.LastAt.IsZero() {
			t.Errorf("run %+v of %+v", run, got)
		}
	})
}

// Each tick starts a run under an id of its own, with all that was said of runs; what was missed is counted.
func TestTicks(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ctx, w := t.Context(), nightly(nil)
		b.ensure(workflow.Queue{Name: "night"})
		kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "hours", Every: time.Hour}, 5, workflow.WithQueue("night"),
			workflow.WithPriority(workflow.PriorityHigh), workflow.WithPartition("p"), workflow.WithDeadline(time.Hour)))
		b.svc.Register(w)
		kit.Work(t, b.svc)

		got := b.ticked("hours", time.Millisecond)
		if got.Started != 1 || got.Skipped != (workflow.Skips{}) || !strings.HasPrefix(got.LastRunID, "hours/20") || got.Unserved {
			t.Fatalf("on time: %+v", got)
		}
		if id := "hours/" + got.LastAt.UTC().Format(time.RFC3339Nano); got.LastRunID != id {
			t.Errorf("the run of %s is %s", id, got.LastRunID)
		}
		run, err := b.svc.AwaitRun(kit.Context(t), got.LastRunID)
		kit.Must(t, err)
		if run.Queue != "night" || run.Priority != workflow.PriorityHigh || run.Partition != "p" || string(run.Output) != "5" {
			t.Errorf("its run: %+v", run)
		}
		deadline := kit.One[int64](t, b.db, `SELECT deadline_at - created_at FROM workflows.workflow_runs WHERE id = $1`, run.ID)
		if deadline != time.Hour.Milliseconds() {
			t.Errorf("its deadline is after %d ms", deadline)
		}

		// The newest of many is too old, but for a schedule that catches up.
		if got = b.ticked("hours", 3*time.Hour); got.Started > 2 || got.Started+got.Skipped.Missed != 5 || got.Skipped.Missed < 3 {
			t.Errorf("four ticks later: %+v", got)
		}
		kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "hours", Every: time.Hour, CatchUp: time.Hour}, 6))
		kit.Exec(t, b.db, `DELETE FROM workflows.workflow_runs`)
		got = b.ticked("hours", 3*time.Hour)
		if got.Started+got.Skipped.Missed != 9 || got.Skipped.Missed > 7 || !got.LastAt.Equal(got.NextAt.Add(-time.Hour)) {
			t.Errorf("four ticks later, the last of them caught up: %+v", got)
		}
	})
}

// A tick that is late by less than a minute was not missed; one that was is run if it is no older than CatchUp.
func TestMissedTicks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := nightly(nil)
	b.svc.Register(w)
	kit.Work(t, b.svc)
	for n, test := range []struct {
		catchUp, late time.Duration
		started       int64
	}{
		{0, 30 * time.Second, 1}, {0, 2 * time.Minute, 0}, {0, 24 * time.Hour, 0},
		{time.Hour, 30 * time.Minute, 1}, {time.Hour, 2 * time.Hour, 0}, {time.Millisecond, 30 * time.Second, 1},
	} {
		schedule := workflow.Schedule{Name: fmt.Sprint(n), Cron: forever.Cron, CatchUp: test.catchUp}
		kit.Must(t, w.SetSchedule(t.Context(), b.svc, schedule, 1))
		if got := b.ticked(schedule.Name, test.late); got.Started != test.started || got.Skipped != (workflow.Skips{Missed: 1 - test.started}) {
			t.Errorf("late by %s, to be caught up for %s: %+v", test.late, test.catchUp, got)
		}
	}
}

// What a tick does whose last run is not finished.
func TestOverlap(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := nightly(untilReleased)
		b.svc.Register(w)
		kit.Work(t, b.svc)
		for overlap, want := range map[workflow.Overlap]struct {
			runs  []string
			skips workflow.Skips
		}{
			workflow.OverlapSkip:        {[]string{"1 suspended"}, workflow.Skips{Overlapped: 2}},
			workflow.OverlapAllow:       {[]string{"1 suspended", "1 suspended", "1 suspended"}, workflow.Skips{}},
			workflow.OverlapCancelOther: {[]string{"1 cancelled", "1 cancelled", "1 suspended"}, workflow.Skips{}},
		} {
			schedule := workflow.Schedule{Name: string(overlap), Cron: forever.Cron, Overlap: overlap}
			kit.Must(t, w.SetSchedule(t.Context(), b.svc, schedule, 1))
			for range 3 {
				b.ticked(schedule.Name, time.Millisecond)
				b.waiting(b.schedule(schedule.Name).LastRunID, "signal:release")
			}
			got := b.schedule(schedule.Name)
			if diff := cmp.Diff(want.runs, b.runsOf(schedule.Name)); diff != "" || got.Skipped != want.skips || int(got.Started) != len(want.runs) {
				t.Errorf("%s: %+v (-want +got):\n%s", overlap, got, diff)
			}
		}

		// Started by hand it is the same, and an end makes way.
		_, err := b.svc.TriggerSchedule(t.Context(), string(workflow.OverlapSkip))
		kit.WantIs(t, err, workflow.ErrScheduleBusy)
		tx := kit.Begin(t, b.db)
		_, err = b.svc.In(tx).TriggerSchedule(t.Context(), string(workflow.OverlapSkip))
		kit.WantIs(t, err, workflow.ErrScheduleBusy)
		id, err := b.svc.In(tx).TriggerSchedule(t.Context(), string(workflow.OverlapCancelOther))
		kit.Must(t, err)
		kit.Must(t, tx.Commit())
		b.svc.Wake()
		b.waiting(id, "signal:release")
		want := []string{"1 cancelled", "1 cancelled", "1 cancelled", "1 suspended"}
		if diff := cmp.Diff(want, b.runsOf(string(workflow.OverlapCancelOther))); diff != "" {
			t.Errorf("triggered (-want +got):\n%s", diff)
		}
		last := b.schedule(string(workflow.OverlapSkip))
		kit.Must(t, b.svc.Cancel(t.Context(), last.LastRunID))
		if last.Skipped.Overlapped != 2 {
			t.Errorf("what was triggered in vain is counted as a tick: %+v", last)
		}
		got := b.ticked(string(workflow.OverlapSkip), time.Millisecond)
		if got.Started != 2 || got.LastRunID == last.LastRunID {
			t.Errorf("after the end of the last run: %+v", got)
		}
	})
}

// While a schedule is paused its ticks are counted, and they are not caught up; it may be started by hand.
func TestPausedSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, w := t.Context(), nightly(nil)
	kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "hours", Every: time.Hour, CatchUp: 24 * time.Hour}, 1))
	kit.Must(t, b.svc.PauseSchedule(ctx, "hours"))
	b.due("hours", 90*time.Minute) // nobody works
	b.svc.Register(w)
	kit.Must(t, b.svc.ResumeSchedule(ctx, "hours"))
	kit.Work(t, b.svc)
	kit.Until(t, "the ticks were seen to", func() bool { return b.schedule("hours").Skipped.Paused >= 2 })
	kit.Must(t, b.svc.PauseSchedule(ctx, "hours"))
	before := b.schedule("hours")
	got := b.ticked("hours", time.Millisecond)
	if got.Started != 0 || got.Skipped != (workflow.Skips{Paused: before.Skipped.Paused + 1}) {
		t.Errorf("paused: %+v", got)
	}
	id, err := b.svc.TriggerSchedule(ctx, "hours")
	kit.Must(t, err)
	_, err = b.svc.AwaitRun(kit.Context(t), id)
	kit.Must(t, err)
	if after := b.schedule("hours"); after.Started != 1 || !after.NextAt.Equal(got.NextAt) || after.PausedAt.IsZero() {
		t.Errorf("triggered: %+v", after)
	}
	kit.Must(t, b.svc.ResumeSchedule(ctx, "hours"))
	kit.Until(t, "a tick of a millisecond ago is after the pause", func() bool {
		return kit.One[bool](t, b.db, "SELECT resumed_at < extract(epoch FROM clock_timestamp()) * 1000 - 3 FROM workflows.workflow_schedules")
	})
	if got = b.ticked("hours", time.Millisecond); got.Started != 2 {
		t.Errorf("resumed: %+v", got)
	}
}

// A tick that has a run starts no second one, though its schedule was deleted and made again.
func TestTickOfARunThatIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, w := t.Context(), nightly(nil)
	b.svc.Register(w)
	kit.Must(t, w.SetSchedule(ctx, b.svc, forever, 1))
	b.due("nightly", time.Second)
	at := b.schedule("nightly").NextAt
	_, err := w.Start(ctx, b.svc, 7, workflow.WithRunID("nightly/"+at.UTC().Format(time.RFC3339Nano)))
	kit.Must(t, err)
	kit.Work(t, b.svc)
	kit.Until(t, "the tick was seen to", func() bool { return b.schedule("nightly").Skipped.Taken == 1 })
	if got := b.schedule("nightly"); got.Started != 0 || !got.NextAt.After(at) {
		t.Errorf("%+v", got)
	}
	kit.Until(t, "the run is completed", func() bool { return cmp.Equal(b.runsOf("nightly"), []string{"7 completed"}) })
}

// Jitter makes runs wait for up to so long, and no two alike.
func TestJitter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := nightly(nil)
	b.svc.Register(w)
	kit.Work(t, b.svc)
	spread := forever
	spread.Jitter, spread.Overlap = time.Hour, workflow.OverlapAllow
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, spread, 1))
	for range 5 {
		b.ticked("nightly", time.Millisecond)
	}
	delays := kit.Column[int64](t, b.db, `SELECT run_at - created_at FROM workflows.workflow_runs ORDER BY 1`)
	if len(delays) != 5 || delays[0] < 0 || delays[4] > 3600e3 || delays[0] == delays[4] {
		t.Errorf("runs wait for %v ms", delays)
	}
}
