package main

import (
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// A node is a line of the tree: a step, a branch, or both when they have the same name; or what hangs under a step.
type node struct {
	name     string   // a step's without its branch
	cells    []string // the columns after the name; nil for a branch alone
	children []*node
}

func (n *node) add(name string, cells ...string) *node {
	child := &node{name: name, cells: cells}
	n.children = append(n.children, child)
	return child
}

// tree puts the steps of a branch under it, and under a step its attempts that failed and were followed by another, what was sent for
// it, and the runs that it has started. A branch stands where its first step stands.
func tree(r record) *node {
	root := &node{}
	nodes := map[string]*node{"": root} // by key
	var find func(key string) *node
	find = func(key string) *node {
		if found := nodes[key]; found != nil {
			return found
		}
		i := strings.LastIndex(key, "/")
		n := find(key[:max(i, 0)]).add(key[i+1:])
		nodes[key] = n
		return n
	}
	for _, step := range r.steps {
		n := find(step.Name)
		n.cells = columns(step)
		if step.Kind == workflow.PatchStep {
			n.name = strings.TrimPrefix(n.name, "#")
		}
		attempts(n, step)
		answers(n, step, r.signals)
		started(n, step, r.children)
	}
	strays(root, r)
	return root
}

// rows appends what is under n.
func (n *node) rows(indent string, rows [][]string) [][]string {
	for i, child := range n.children {
		this, below := "├─ ", "│  "
		if i == len(n.children)-1 {
			this, below = "└─ ", "   "
		}
		cells := child.cells
		if cells == nil {
			cells = make([]string, 6)
		}
		rows = append(rows, append([]string{indent + this + printable(child.name)}, cells...))
		rows = child.rows(indent+below, rows)
	}
	return rows
}

func attempts(n *node, step workflow.Step) {
	if step.Attempts == nil {
		return
	}
	failures := step.Attempts.Failures
	if len(failures) > 0 && step.Status == workflow.StepFailed { // the last one is the step's own line
		failures = failures[:len(failures)-1]
	}
	for _, f := range failures {
		n.add("attempt", "failed", "", moment(f.At), "", "", cut(failure(f.Err)))
	}
}

// columns are those of a step's line after its name.
func columns(step workflow.Step) []string {
	status, took, attempts, result := string(step.Status), "", 0, ""
	if step.Attempts != nil {
		attempts = step.Attempts.Count
	}
	switch {
	case step.Kind == workflow.PatchStep: // no unit of work
		status, result = "", "takes the new way"
	case step.Kind == workflow.SleepStep:
		attempts = 0
		if !step.WakeAt.IsZero() {
			result = "until " + moment(step.WakeAt)
		}
	case step.Status == workflow.StepScheduled:
		result = expectation(step)
	case step.Status == workflow.StepSucceeded:
		took, attempts, result = duration(step), attempts+1, printable(string(step.Result))
	case step.Status == workflow.StepFailed:
		took, attempts, result = duration(step), max(attempts, 1), failure(stored(step.Err))
	case !step.WakeAt.IsZero():
		took, result = duration(step), "tried again at "+moment(step.WakeAt)
	}
	number := ""
	if attempts > 0 && !waits(step.Kind) {
		number = strconv.Itoa(attempts)
	}
	return []string{status, string(step.Kind), moment(step.UpdatedAt), took, number, cut(result)}
}

// waits reports whether a step of this kind waits for others, and is not attempted.
func waits(kind workflow.StepKind) bool {
	switch kind {
	case workflow.SignalStep, workflow.PollStep, workflow.ApprovalStep, workflow.CallStep, workflow.SpawnStep:
		return true
	default:
		return false
	}
}

// expectation says what a scheduled step waits for, and how long.
func expectation(step workflow.Step) string {
	switch {
	case step.Waiting == 1:
		return "waits for a run"
	case step.Waiting > 1:
		return "waits for " + strconv.Itoa(step.Waiting) + " runs"
	case !step.WakeAt.IsZero():
		return "waits until " + moment(step.WakeAt)
	default:
		return ""
	}
}

// duration is that of a step's newest attempt; none for a step that was written by hand.
func duration(step workflow.Step) string {
	if step.StartedAt.IsZero() {
		return ""
	}
	return lasted(step.UpdatedAt.Sub(step.StartedAt))
}
