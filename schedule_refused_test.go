package workflow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What is wrong with a schedule is said before anything is written.
func TestScheduleIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := nightly(nil)
	with := func(change func(*workflow.Schedule)) workflow.Schedule {
		s := workflow.Schedule{Name: "s", Cron: "0 2 * * *"}
		change(&s)
		return s
	}
	for _, test := range []struct {
		want     string
		schedule workflow.Schedule
	}{
		{"Schedule.Name", with(func(s *workflow.Schedule) { s.Name = "" })},
		{"at most 200", with(func(s *workflow.Schedule) { s.Name = strings.Repeat("n", 201) })},
		{"either Cron or Every", with(func(s *workflow.Schedule) { s.Every = time.Hour })},
		{"either Cron or Every", with(func(s *workflow.Schedule) { s.Cron = "" })},
		{"expected exactly 5 fields", with(func(s *workflow.Schedule) { s.Cron = "0 2 * *" })},
		{"no such date", with(func(s *workflow.Schedule) { s.Cron = "0 2 31 6 *" })},
		{"time/tzdata", with(func(s *workflow.Schedule) { s.Zone = "Europe/Atlantis" })},
		{"Zone is for Cron", with(func(s *workflow.Schedule) { s.Cron, s.Every, s.Zone = "", time.Hour, "UTC" })},
		{"at least 1s", with(func(s *workflow.Schedule) { s.Cron, s.Every = "", time.Millisecond })},
		{"at least 1s", with(func(s *workflow.Schedule) { s.Cron, s.Every = "", -time.Hour })},
		{"whole milliseconds", with(func(s *workflow.Schedule) { s.Cron, s.Every = "", time.Second+time.Microsecond })},
		{"Schedule.CatchUp", with(func(s *workflow.Schedule) { s.CatchUp = -1 })},
		{"Schedule.Jitter", with(func(s *workflow.Schedule) { s.Jitter = 400 * 24 * time.Hour })},
		{"Schedule.Overlap", with(func(s *workflow.Schedule) { s.Overlap = "both" })},
	} {
		for _, err := range []error{
			w.SetSchedule(t.Context(), b.svc, test.schedule, 1), w.EnsureSchedule(t.Context(), b.svc, test.schedule, 1),
		} {
			kit.WantIs(t, err, workflow.ErrInvalidArgument)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v, want %q", test.schedule, err, test.want)
			}
		}
	}
	good := with(func(*workflow.Schedule) {})
	kit.WantIs(t, w.SetSchedule(t.Context(), b.svc, good, 1, workflow.WithDelay(time.Second)), workflow.ErrInvalidArgument)
	kit.WantIs(t, w.SetSchedule(t.Context(), b.svc, good, 1, workflow.WithQueue("none")), workflow.ErrQueueNotFound)
	longest := with(func(s *workflow.Schedule) { s.Name = strings.Repeat("n", 200) })
	kit.Must(t, w.SetSchedule(t.Context(), b.svc, longest, 1))
	_, err := b.svc.TriggerSchedule(t.Context(), longest.Name)
	kit.Must(t, err)
	for _, err := range []error{
		b.svc.PauseSchedule(t.Context(), "none"), b.svc.ResumeSchedule(t.Context(), "none"), b.svc.DeleteSchedule(t.Context(), "none"),
	} {
		kit.WantIs(t, err, workflow.ErrScheduleNotFound)
	}
	_, err = b.svc.TriggerSchedule(t.Context(), "none")
	kit.WantIs(t, err, workflow.ErrScheduleNotFound)
	kit.WantIs(t, b.svc.PauseSchedule(t.Context(), ""), workflow.ErrInvalidArgument)
}
