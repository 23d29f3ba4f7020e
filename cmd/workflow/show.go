package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

const showUsage = `Usage: workflow show RUN [flags]

Show a run and its steps, in the order of their last change, those of a branch under its name. Under
a step stand its attempts that failed and were followed by another. Long values are cut to a line.
`

func (c *cli) show(ctx context.Context, args []string) int {
	t := newTarget("show", showUsage)
	asJSON := t.Bool("json", false, "print a JSON object, with all that is recorded")
	id, args := takeWord(t, args)
	return c.onState(ctx, t, args, func(service *workflow.Service) error {
		if id == "" {
			return fmt.Errorf("%w: a run is missing", workflow.ErrInvalidArgument)
		}
		run, err := service.GetRun(ctx, id)
		if err != nil {
			return err
		}
		steps, err := service.ListSteps(ctx, id)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.stdout, encodeRunWithSteps(run, steps))
		}
		return printRun(c.stdout, run, steps)
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

func printRun(w io.Writer, run workflow.Run, steps []workflow.Step) error {
	if err := printTable(w, about(run)); err != nil {
		return err
	}
	if run.Status.Finished() {
		waitNoMore(steps)
	}
	if len(steps) > 0 {
		fmt.Fprintln(w)
		rows := [][]string{{"STEP", "STATUS", "KIND", "TIME (UTC)", "ATTEMPTS", "RESULT"}}
		if err := printTable(w, tree(steps).rows("", rows)); err != nil {
			return err
		}
	}
	if e := stored(run.Err); e != nil && e.Stack != "" {
		fmt.Fprintln(w, "\nThe error came from")
		for line := range strings.Lines(e.Stack) {
			fmt.Fprintln(w, "  "+strings.TrimRight(printable(strings.ReplaceAll(line, "\t", "    ")), " "))
		}
	}
	return nil
}

// waitNoMore takes from the steps of a finished run the times for which some of them were waiting: they will not come.
func waitNoMore(steps []workflow.Step) {
	for i := range steps {
		if steps[i].Status != workflow.StepSucceeded {
			steps[i].WakeAt = time.Time{}
		}
	}
}

func about(run workflow.Run) [][]string {
	rows := [][]string{
		{"run", printable(run.ID)},
		{"workflow", printable(run.Workflow)},
		{"status", string(run.Status)},
		{"created", moment(run.CreatedAt) + " UTC"},
	}
	if run.Status.Finished() {
		rows = append(rows, []string{"ended", fmt.Sprintf("%s UTC, after %s", moment(run.UpdatedAt), run.UpdatedAt.Sub(run.CreatedAt))})
	} else {
		rows = append(rows, []string{"changed", moment(run.UpdatedAt) + " UTC"})
		if text := note(run); text != "" {
			rows = append(rows, []string{"note", text})
		}
	}
	rows = append(rows, []string{"input", cut(printable(string(run.Input)))})
	if run.Output != nil {
		rows = append(rows, []string{"output", cut(printable(string(run.Output)))})
	}
	if e := stored(run.Err); e != nil {
		if e.Step != "" {
			rows = append(rows, []string{"failed in", "step " + printable(e.Step)})
		}
		rows = append(rows, []string{"error", failure(e)})
	}
	return rows
}

// A node is a step, or a branch, or both when they have the same name.
type node struct {
	name     string // without the branch
	step     *workflow.Step
	children []*node
}

// tree puts the steps of a branch under it. A branch stands where its first step stands.
func tree(steps []workflow.Step) *node {
	root := &node{}
	nodes := map[string]*node{"": root} // by key
	var find func(key string) *node
	find = func(key string) *node {
		if found := nodes[key]; found != nil {
			return found
		}
		i := strings.LastIndex(key, "/")
		n := &node{name: key[i+1:]}
		nodes[key] = n
		parent := find(key[:max(i, 0)])
		parent.children = append(parent.children, n)
		return n
	}
	for _, step := range steps {
		find(step.Name).step = &step
	}
	return root
}

// rows appends what is under n: its attempts that failed and were followed by another, and its children.
func (n *node) rows(indent string, rows [][]string) [][]string {
	var attempts workflow.Attempts
	if n.step != nil && n.step.Attempts != nil {
		attempts = *n.step.Attempts
	}
	failures := attempts.Failures
	if len(failures) > 0 && n.step.Status == workflow.StepFailed { // the last one is the step's own line
		failures = failures[:len(failures)-1]
	}
	under := len(failures) + len(n.children)
	branch := func() (this, below string) {
		if under--; under == 0 {
			return indent + "└─ ", indent + "   "
		}
		return indent + "├─ ", indent + "│  "
	}
	for _, f := range failures {
		this, _ := branch()
		rows = append(rows, []string{this + "attempt", "failed", "", moment(f.At), "", cut(failure(f.Err))})
	}
	for _, child := range n.children {
		this, below := branch()
		cells := make([]string, 5) // empty, for a branch alone
		if child.step != nil {
			cells = columns(*child.step)
		}
		rows = child.rows(below, append(rows, append([]string{this + printable(child.name)}, cells...)))
	}
	return rows
}

// columns are those of a step's line after its name.
func columns(step workflow.Step) []string {
	attempts, result := 0, ""
	if step.Attempts != nil {
		attempts = step.Attempts.Count
	}
	switch step.Status {
	case workflow.StepSucceeded:
		attempts++
		result = printable(string(step.Result))
	case workflow.StepFailed:
		attempts = max(attempts, 1)
		result = failure(stored(step.Err))
	default:
		if !step.WakeAt.IsZero() {
			result = "tried again at " + moment(step.WakeAt)
		}
	}
	number := strconv.Itoa(attempts)
	if attempts == 0 {
		number = ""
	}
	if step.Kind == "sleep" {
		number, result = "", ""
		if !step.WakeAt.IsZero() {
			result = "until " + moment(step.WakeAt)
		}
	}
	return []string{string(step.Status), string(step.Kind), moment(step.UpdatedAt), number, cut(result)}
}
