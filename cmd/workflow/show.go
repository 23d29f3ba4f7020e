package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

const showUsage = `Usage: workflow show RUN [flags]

Show a run and its steps, in the order in which the run reached them, those of a branch under its name;
then those that were written by hand. CHANGED is when the newest attempt of a step ended, and TOOK how
long that took; under the step stand its attempts that failed and were followed by another. A step that
a worker is executing is named above them, as in flight, from about the second heartbeat of the worker
on (a third of its lease). Long values are cut to a line.
`

// A record is what is shown of a run.
type record struct {
	run      workflow.Run
	steps    []workflow.Step
	inFlight []workflow.StepInFlight
}

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

// look reads the steps after the run, so that none of a finished run is missing.
func look(ctx context.Context, service *workflow.Service, id string) (found record, err error) {
	if found.run, err = service.GetRun(ctx, id); err != nil {
		return record{}, err
	}
	if found.run.Owner != "" {
		if found.inFlight, err = service.StepsInFlight(ctx, id); err != nil {
			return record{}, err
		}
	}
	if found.steps, err = service.ListSteps(ctx, id); err != nil {
		return record{}, err
	}
	if found.run.Status.Finished() {
		waitNoMore(found.steps)
	}
	return found, nil
}

// waitNoMore takes from the steps of a finished run the times for which some of them were waiting: they will not come.
func waitNoMore(steps []workflow.Step) {
	for i := range steps {
		if steps[i].Status != workflow.StepSucceeded {
			steps[i].WakeAt = time.Time{}
		}
	}
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
	if len(r.steps) > 0 {
		fmt.Fprintln(w)
		rows := [][]string{{"STEP", "STATUS", "KIND", "CHANGED (UTC)", "TOOK", "ATTEMPTS", "RESULT"}}
		if err := printTable(w, tree(r.steps).rows("", rows)); err != nil {
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
