package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) schedules() *cobra.Command {
	command := &cobra.Command{
		Use:   "schedules",
		Short: "List schedules; pause, resume, trigger, delete",
		Long: `List the schedules by name. NEXT is the next tick, LAST the last run, SKIPPED the ticks that started nothing. STATE is unserved where
no living worker has registered the workflow and serves its queue: what is started would wait.`,
		Example: `  workflow schedules
  workflow schedules --json | jq -r '.[] | select(.unserved) | .name'
  workflow schedules trigger nightly
  workflow schedules pause nightly`,
		Args: noWords,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON array")
	command.RunE = func(command *cobra.Command, _ []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			schedules, err := service.ListSchedules(ctx)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return printJSON(c.out, encodeSchedules(schedules))
			case len(schedules) == 0:
				_, err = fmt.Fprintln(c.out, "There are no schedules.")
				return err
			default:
				return c.print(c.scheduleTable(schedules))
			}
		})
	}
	command.AddCommand(
		c.turns("pause", "schedule", "Let the ticks of a schedule start nothing", "Let the ticks of a schedule start nothing until workflow schedules resume: they are counted. Runs go on.",
			"Paused schedule", c.completeSchedules, func(s *workflow.Service) func(context.Context, string) error { return s.PauseSchedule }),
		c.turns("resume", "schedule", "End the pause of a schedule", "End the pause of a schedule. Ticks that came before are not caught up: trigger it for that.",
			"Resumed schedule", c.completeSchedules, func(s *workflow.Service) func(context.Context, string) error { return s.ResumeSchedule }),
		c.triggerSchedule(), c.deleteSchedule())
	return command
}

func (c *cli) triggerSchedule() *cobra.Command {
	command := &cobra.Command{
		Use:   "trigger NAME",
		Short: "Start a run of a schedule now",
		Long: `Start a run of a schedule now, also while that is paused, and print its id. Its ticks stay as they are. While its last run is not
finished a schedule that skips overlaps refuses (exit code 4), and one that cancels the other does.`,
		Example: `  workflow schedules trigger nightly
  workflow show "$(workflow schedules trigger nightly)"`,
		Args: words(1, 1, "the name of a schedule"), ValidArgsFunction: c.completeSchedules,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			id, err := service.TriggerSchedule(ctx, args[0])
			if err != nil {
				return err
			}
			return c.did(*asJSON, map[string]string{"schedule": args[0], "done": "trigger", "run_id": id}, "%s", id)
		})
	}
	return command
}

func (c *cli) deleteSchedule() *cobra.Command {
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a schedule with what it has counted",
		Long: `Delete a schedule with what it has counted. Its runs stay and go on. A program that ensures it makes it again when it starts: pause it
if it is only to rest.`,
		Example: "  workflow schedules delete nightly",
		Args:    words(1, 1, "the name of a schedule"), ValidArgsFunction: c.completeSchedules,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	yes := addYes(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			if _, err := service.GetSchedule(ctx, args[0]); err != nil {
				return err
			}
			if err := c.sure(ctx, fmt.Sprintf("Delete schedule %q?", printable(args[0])), *yes); err != nil {
				return err
			}
			if err := service.DeleteSchedule(ctx, args[0]); err != nil {
				return err
			}
			return c.did(*asJSON, map[string]string{"schedule": args[0], "done": "delete"}, "Deleted schedule %q.", printable(args[0]))
		})
	}
	return command
}

func (c *cli) scheduleTable(schedules []workflow.ScheduleState) table {
	t := table{columns: []column{
		{head: "SCHEDULE", cut: middle, least: 12}, {head: "STATE", paint: paintStatus}, {head: "WORKFLOW", cut: middle, least: 8, drop: 3},
		{head: "WHEN", cut: end, least: 9}, {head: "NEXT"}, {head: "LAST"}, {head: "STARTED", drop: 2}, {head: "SKIPPED"}, {head: "LAST RUN", cut: middle, least: 20, drop: 1},
	}}
	for i := range schedules {
		s := &schedules[i]
		state := "active"
		switch {
		case !s.PausedAt.IsZero():
			state = "paused"
		case s.Unserved:
			state = "unserved"
		}
		times := s.Cron
		if s.Every > 0 {
			times = "every " + short(s.Every)
		}
		if s.Zone != "" {
			times += " " + s.Zone
		}
		t.add(printable(s.Name), state, printable(s.Workflow), printable(times), c.ago(s.NextAt), c.ago(s.LastAt),
			strconv.FormatInt(s.Started, 10), skipped(s.Skipped), printable(s.LastRunID))
	}
	t.withoutEmpty("LAST", "LAST RUN", "SKIPPED")
	return t
}

// skipped tells the reasons that there were.
func skipped(s workflow.Skips) (text string) {
	for _, reason := range []struct {
		n    int64
		name string
	}{{s.Missed, "missed"}, {s.Overlapped, "overlapped"}, {s.Paused, "paused"}, {s.Taken, "taken"}} {
		if reason.n == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += strconv.FormatInt(reason.n, 10) + " " + reason.name
	}
	return text
}

type (
	scheduleJSON struct {
		Name            string           `json:"name"`
		Workflow        string           `json:"workflow"`
		Cron            string           `json:"cron,omitempty"`
		EverySeconds    float64          `json:"every_seconds,omitempty"`
		Zone            string           `json:"zone,omitempty"`
		CatchUpSeconds  float64          `json:"catch_up_seconds"`
		Overlap         workflow.Overlap `json:"overlap"`
		JitterSeconds   float64          `json:"jitter_seconds"`
		Input           json.RawMessage  `json:"input"`
		Queue           string           `json:"queue,omitempty"`
		Priority        string           `json:"priority,omitempty"`
		Partition       string           `json:"partition,omitempty"`
		DeadlineSeconds float64          `json:"deadline_seconds,omitempty"`
		PausedAt        time.Time        `json:"paused_at,omitzero"`
		NextAt          time.Time        `json:"next_at"`
		LastAt          time.Time        `json:"last_at,omitzero"`
		LastRunID       string           `json:"last_run_id,omitempty"`
		Started         int64            `json:"started"`
		Skipped         skipsJSON        `json:"skipped"`
		Unserved        bool             `json:"unserved"`
		CreatedAt       time.Time        `json:"created_at"`
		UpdatedAt       time.Time        `json:"updated_at"`
	}
	skipsJSON struct {
		Missed     int64 `json:"missed"`
		Overlapped int64 `json:"overlapped"`
		Paused     int64 `json:"paused"`
		Taken      int64 `json:"taken"`
	}
)

func encodeSchedules(schedules []workflow.ScheduleState) []scheduleJSON {
	encoded := make([]scheduleJSON, len(schedules))
	for i := range schedules {
		s := &schedules[i]
		encoded[i] = scheduleJSON{
			Name: s.Name, Workflow: s.Workflow, Cron: s.Cron, EverySeconds: s.Every.Seconds(), Zone: s.Zone,
			CatchUpSeconds: s.CatchUp.Seconds(), Overlap: cmp.Or(s.Overlap, workflow.OverlapSkip), JitterSeconds: s.Jitter.Seconds(),
			Input: s.Input, Queue: s.Queue, Partition: s.Partition, DeadlineSeconds: s.Deadline.Seconds(), PausedAt: utc(s.PausedAt),
			NextAt: utc(s.NextAt), LastAt: utc(s.LastAt), LastRunID: s.LastRunID, Started: s.Started, Skipped: skipsJSON(s.Skipped),
			Unserved: s.Unserved, CreatedAt: utc(s.CreatedAt), UpdatedAt: utc(s.UpdatedAt),
		}
		if s.Queue != "" {
			encoded[i].Priority = s.Priority.String()
		}
	}
	return encoded
}
