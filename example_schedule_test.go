package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A report for each night, in whatever process works then: a program ensures its schedules when it starts.
func ExampleSchedule() {
	report := workflow.Define("report", func(_ context.Context, of string) (string, error) { return "report of " + of, nil })
	svc, _, closeAll := working(report)
	defer closeAll()
	must(report.EnsureSchedule(ctx, svc, workflow.Schedule{
		Name: "nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin", CatchUp: 6 * time.Hour,
	}, "sales"))

	schedule, err := svc.GetSchedule(ctx, "nightly")
	must(err)
	berlin, err := time.LoadLocation(schedule.Zone)
	must(err)
	fmt.Println("next at", schedule.NextAt.In(berlin).Format("15:04"))

	id, err := svc.TriggerSchedule(ctx, "nightly") // not only at night
	must(err)
	run, err := svc.AwaitRun(ctx, id)
	must(err)
	fmt.Println(string(run.Output))
	// Output:
	// next at 02:30
	// "report of sales"
}

// A customer and what is done for it every hour: both, or neither. In a queue of its own the runs of all customers take turns.
func ExampleWorkflow_SetSchedule() {
	sync := workflow.Define("sync", func(_ context.Context, customer string) (string, error) { return customer, nil })
	svc, db, closeAll := newService()
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "syncs", MaxRunning: 10}))
	_, err := db.Exec("CREATE TABLE customers (name TEXT)")
	must(err)

	tx, err := db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("INSERT INTO customers VALUES ('acme')")
	must(err)
	must(sync.SetSchedule(ctx, svc.In(tx), workflow.Schedule{Name: "sync acme", Every: time.Hour, Jitter: 10 * time.Minute}, "acme",
		workflow.WithQueue("syncs"), workflow.WithPartition("acme"), workflow.WithDeadline(time.Hour)))
	must(tx.Rollback())

	_, err = svc.GetSchedule(ctx, "sync acme")
	fmt.Println(errors.Is(err, workflow.ErrScheduleNotFound))
	// Output: true
}

// Whoever operates it pauses a schedule, starts it by hand, and sees what it has done.
func ExampleState_ListSchedules() {
	backup := workflow.Define("backup", func(context.Context, string) (string, error) { return "done", nil })
	svc, _, closeAll := working(backup)
	defer closeAll()
	must(backup.EnsureSchedule(ctx, svc, workflow.Schedule{Name: "backups", Every: 24 * time.Hour}, "all"))
	must(svc.PauseSchedule(ctx, "backups"))
	id, err := svc.TriggerSchedule(ctx, "backups")
	must(err)
	_, err = svc.AwaitRun(ctx, id)
	must(err)

	schedules, err := svc.ListSchedules(ctx)
	must(err)
	for _, s := range schedules {
		fmt.Println(s.Name, "paused:", !s.PausedAt.IsZero(), "started:", s.Started, "missed:", s.Skipped.Missed)
	}
	// Output: backups paused: true started: 1 missed: 0
}
