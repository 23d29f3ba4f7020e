package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) runs() *cobra.Command {
	command := &cobra.Command{
		Use:   "runs",
		Short: "List runs, newest first",
		Long: `List runs, newest first, with their queues if any is in one. AGE is since a run was created, CHANGED when its row last changed.
The last column tells why a run failed or is blocked, who executes it, or what it waits for.

A filter that no run matches is exit code 3; so is an empty list only with a filter.`,
		Example: `  workflow runs --status failed --newer 1h
  workflow runs --suspended-for signal --older 3d
  workflow runs --workflow order --attribute customer=4711
  workflow runs --status failed --json | jq -r '.[].id'`,
		Args: noWords,
	}
	var flags filterFlags
	flags.add(command)
	limit := command.Flags().Int("limit", 20, "list at most `N` runs")
	asJSON := command.Flags().Bool("json", false, "print a JSON array, with inputs and outputs")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if *limit < 1 {
			return wrongUsage("--limit must be at least 1")
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			return c.listRuns(ctx, service, &flags, *limit, *asJSON)
		})
	}
	return command
}

func (c *cli) listRuns(ctx context.Context, service *workflow.Service, flags *filterFlags, limit int, asJSON bool) error {
	filter, err := flags.filter(c.clock())
	if err != nil {
		return err
	}
	runs, more, err := newest(ctx, service, filter, limit)
	switch {
	case err != nil:
		return err
	case asJSON:
		err = printJSON(c.out, encodeRuns(runs))
	case len(runs) == 0 && !flags.isSet():
		_, err = fmt.Fprintln(c.out, "There are no runs.")
	case len(runs) > 0:
		err = c.printRuns(runs)
	}
	switch {
	case err != nil:
		return err
	case len(runs) == 0 && flags.isSet():
		return errNothing
	case more && !asJSON:
		_, err = fmt.Fprintf(c.out, "Older runs are left out; --limit %d shows as many again.\n", 2*limit)
	}
	return err
}

const pageSize = 1000

// newest returns up to limit runs, and whether there are more.
func newest(
	ctx context.Context, service *workflow.Service, filter workflow.RunFilter, limit int,
) (runs []workflow.Run, more bool, err error) {
	for {
		filter.Limit = min(limit-len(runs), pageSize)
		page, err := service.ListRuns(ctx, filter)
		if err != nil {
			return nil, false, err
		}
		runs = append(runs, page.Runs...)
		if len(runs) == limit || page.Next == "" {
			return runs, page.Next != "", nil
		}
		filter.Cursor = page.Next
	}
}

// printRuns has a column for queues if any of the runs is in one.
func (c *cli) printRuns(runs []workflow.Run) error {
	t := table{note: true, columns: []column{
		{head: "RUN", cut: middle, least: 36}, {head: "WORKFLOW", cut: middle, least: 10}, {head: "STATUS", paint: paintStatus},
		{head: "QUEUE", cut: end, least: 8, drop: 2}, {head: "AGE", drop: 1}, {head: "CHANGED"}, {head: "NOTE", cut: end, least: leastNote},
	}}
	for _, run := range runs {
		t.add(printable(run.ID), printable(run.Workflow), string(run.Status), queueOf(run),
			age(c.clock().Sub(run.CreatedAt)), c.ago(run.UpdatedAt), note(run))
	}
	t.withoutEmpty("QUEUE", "NOTE")
	return c.print(t)
}

// queueOf says in which queue a run is, and where in it: the partition, and any priority but the usual one.
func queueOf(run workflow.Run) string {
	text := printable(run.Queue)
	if run.Partition != "" {
		text += ", partition " + printable(run.Partition)
	}
	if run.Priority != workflow.PriorityNormal {
		text += ", priority " + run.Priority.String()
	}
	return text
}

// note says in a line what there is to say about a run in its state.
func note(run workflow.Run) string {
	switch err := cut(failure(stored(run.Err))); {
	case run.Status.Finished():
		return err
	case run.SuspendedFor == workflow.SuspendedBlocked:
		return standing(run) + ": " + err
	default:
		return standing(run)
	}
}

// standing says who has an unfinished run, or what it waits for.
func standing(run workflow.Run) string {
	switch {
	case run.Status == workflow.RunRunning && run.Owner == "":
		return "driven by hand"
	case run.Status == workflow.RunRunning:
		return "by worker " + printable(run.Owner)
	case run.Status == workflow.RunPending && run.RunAt.After(run.UpdatedAt):
		return "waits until " + moment(run.RunAt) + " UTC"
	case run.Status == workflow.RunPending && run.Queue != "":
		return "waits in its queue"
	case run.Status == workflow.RunPending:
		return "waits for a worker"
	}
	switch run.SuspendedFor {
	case workflow.SuspendedForTime:
		return "goes on at " + moment(run.RunAt) + " UTC"
	case workflow.SuspendedForSignal, workflow.SuspendedForChildren:
		return waitsFor(run)
	case workflow.SuspendedByHand:
		return "suspended by hand"
	case workflow.SuspendedBlocked:
		return "blocked since " + moment(run.BlockedAt) + ", tried again at " + moment(run.RunAt) + " UTC"
	default: // of a later release
		return "waits for " + printable(string(run.SuspendedFor))
	}
}

// waitsFor says what has to come for a run, and until when it waits. A step that waits for a signal is not named beside that.
func waitsFor(run workflow.Run) string {
	var all []string
	asks := make(map[string]bool)
	for _, what := range run.WaitsFor {
		signal, ok := strings.CutPrefix(what, "signal:")
		if !ok {
			continue
		}
		step, decides := strings.CutPrefix(signal, approvalSignal)
		asks[step] = true
		if decides {
			all = append(all, "a decision of "+step)
		} else {
			all = append(all, "signal "+signal)
		}
	}
	for _, what := range run.WaitsFor {
		step, ok := strings.CutPrefix(what, "step:")
		name, _, _ := strings.Cut(step[strings.LastIndexByte(step, '/')+1:], "#")
		if ok && !asks[step] && !asks[name] {
			all = append(all, "the runs of step "+step)
		}
	}
	text := "waits for " + printable(strings.Join(all, ", "))
	if !run.RunAt.IsZero() {
		text += ", until " + moment(run.RunAt) + " UTC"
	}
	return text
}
