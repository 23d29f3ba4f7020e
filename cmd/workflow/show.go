package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) show() *cobra.Command {
	command := &cobra.Command{
		Use:   "show RUN",
		Short: "Show a run and its steps as a tree, with their times",
		Long: `Show a run and its steps, in the order in which the run reached them, those of a branch under its name;
then those that were written by hand. Under a step stand the signals and decisions that were sent for it,
and the runs that it has started, with theirs. CHANGED is when the newest attempt of a step ended, and TOOK how
long that took; under the step stand its attempts that failed and were followed by another. A step that
a worker is executing is named above them, as in flight, from about the second heartbeat of the worker
on (a third of its lease). Long values are cut to a line; --json has all of them.`,
		Example: `  workflow show 01935a7e-0000-7000-8000-000000000000
  workflow show RUN --json | jq '.steps[] | select(.status == "failed")'`,
		Args: words(1, 1, "a run"), ValidArgsFunction: c.completeRuns,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON object, with all that is recorded")
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			found, err := look(ctx, service, args[0])
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.out, encodeRecord(found))
			}
			return c.printRecord(found)
		})
	}
	return command
}

func (c *cli) printRecord(r record) error {
	if err := c.printFacts(about(r)); err != nil {
		return err
	}
	if lines := tree(r).rows("", nil); len(lines) > 0 {
		fmt.Fprintln(c.out)
		t := table{rows: lines, columns: []column{
			{head: "STEP", cut: middle, least: 20}, {head: "STATUS", paint: paintStatus}, {head: "KIND", cut: end, drop: 2},
			{head: "CHANGED (UTC)", drop: 3}, {head: "TOOK"}, {head: "ATTEMPTS", drop: 1}, {head: "RESULT", cut: end, least: 16},
		}}
		if err := c.print(t); err != nil {
			return err
		}
	}
	if e := stored(r.run.Err); e != nil && e.Stack != "" {
		fmt.Fprintln(c.out, "\nThe error came from")
		for line := range strings.Lines(e.Stack) {
			fmt.Fprintln(c.out, "  "+strings.TrimRight(printable(strings.ReplaceAll(line, "\t", "    ")), " "))
		}
	}
	return nil
}

func about(r record) (all facts) {
	run := r.run
	add := all.add
	add("run", printable(run.ID))
	add("workflow", printable(run.Workflow))
	add("status", string(run.Status))
	if run.Version != "" {
		add("version", printable(run.Version))
	}
	if run.ParentID != "" {
		add("parent", parent(r))
	}
	if run.Queue != "" {
		add("queue", queueOf(run))
	}
	add("created", moment(run.CreatedAt)+" UTC")
	if run.Status.Finished() {
		add("ended", fmt.Sprintf("%s UTC, after %s", moment(run.UpdatedAt), run.UpdatedAt.Sub(run.CreatedAt)))
	} else {
		add("changed", moment(run.UpdatedAt)+" UTC")
		add("note", standing(run))
	}
	for _, step := range r.inFlight {
		add("in flight", fmt.Sprintf("step %q for %s, worker %s (process %d on %s)",
			step.Step, lasted(step.For), printable(step.Worker), step.PID, printable(step.Host)))
	}
	add("input", cut(printable(string(run.Input))))
	if run.Output != nil {
		add("output", cut(printable(string(run.Output))))
	}
	if e := stored(run.Err); e != nil {
		if e.Step != "" {
			add(place(run), "step "+printable(e.Step))
		}
		add("error", failure(e))
	}
	return all
}

// parent says which run has started this one, and how that stands.
func parent(r record) string {
	text := printable(r.run.ParentID)
	if r.parent == nil {
		return text + ", which was deleted"
	}
	text += fmt.Sprintf(" (%s, %s)", printable(r.parent.Workflow), r.parent.Status)
	if r.run.ParentStep != "" {
		text += fmt.Sprintf(", whose step %q waits for this", printable(r.run.ParentStep))
	}
	return text
}

// place says how the step of a run's error is called.
func place(run workflow.Run) string {
	switch {
	case run.Status == workflow.RunFailed:
		return "failed in"
	case run.SuspendedFor == workflow.SuspendedBlocked:
		return "blocked at"
	default:
		return "error in"
	}
}
