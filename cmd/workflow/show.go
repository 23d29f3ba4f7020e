package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/sqlworkflow/workflow"
)

const showUsage = `Usage: workflow show RUN [flags]

Show a run and its steps, in the order in which the run reached them, those of a branch under its name;
then those that were written by hand. Under a step stand the signals and decisions that were sent for it,
and the runs that it has started, with theirs. CHANGED is when the newest attempt of a step ended, and TOOK how
long that took; under the step stand its attempts that failed and were followed by another. A step that
a worker is executing is named above them, as in flight, from about the second heartbeat of the worker
on (a third of its lease). Long values are cut to a line.
`

func (c *cli) show(ctx context.Context, args []string) int {
	t := newTarget("show", showUsage)
	asJSON := t.Bool("json", false, "print a JSON object, with all that is recorded")
	id, args := takeWord(t, args)
	return c.onState(ctx, t, args, func(service *workflow.Service) error {
		if id == "" {
			return fmt.Errorf("%w: a run is missing", workflow.ErrInvalidArgument)
		}
		found, err := look(ctx, service, id)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.stdout, encodeRecord(found))
		}
		return printRecord(c.stdout, found)
	})
}

// takeWord takes the word that is not a flag, first or last, out of a command line; what else is wrong with that is for
// others to find.
func takeWord(t *target, args []string) (word string, rest []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], args[1:]
	}
	if err := t.Parse(args); err == nil && t.NArg() > 0 {
		return t.Arg(t.NArg() - 1), args[:len(args)-1]
	}
	return "", args
}

func printRecord(w io.Writer, r record) error {
	if err := printTable(w, about(r)); err != nil {
		return err
	}
	if lines := tree(r).rows("", nil); len(lines) > 0 {
		fmt.Fprintln(w)
		head := []string{"STEP", "STATUS", "KIND", "CHANGED (UTC)", "TOOK", "ATTEMPTS", "RESULT"}
		if err := printTable(w, append([][]string{head}, lines...)); err != nil {
			return err
		}
	}
	if e := stored(r.run.Err); e != nil && e.Stack != "" {
		fmt.Fprintln(w, "\nThe error came from")
		for line := range strings.Lines(e.Stack) {
			fmt.Fprintln(w, "  "+strings.TrimRight(printable(strings.ReplaceAll(line, "\t", "    ")), " "))
		}
	}
	return nil
}

func about(r record) [][]string {
	run := r.run
	rows := [][]string{
		{"run", printable(run.ID)},
		{"workflow", printable(run.Workflow)},
		{"status", string(run.Status)},
	}
	add := func(label, text string) { rows = append(rows, []string{label, text}) }
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
	return rows
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
