package main

import (
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow"
)

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
		rows = append(rows, []string{this + "attempt", "failed", "", moment(f.At), "", "", cut(failure(f.Err))})
	}
	for _, child := range n.children {
		this, below := branch()
		cells, name := make([]string, 6), child.name // empty, for a branch alone
		if child.step != nil {
			cells = columns(*child.step)
			if child.step.Kind == workflow.PatchStep {
				name = strings.TrimPrefix(name, "#")
			}
		}
		rows = child.rows(below, append(rows, append([]string{this + printable(name)}, cells...)))
	}
	return rows
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
	case step.Status == workflow.StepSucceeded:
		took, attempts, result = duration(step), attempts+1, printable(string(step.Result))
	case step.Status == workflow.StepFailed:
		took, attempts, result = duration(step), max(attempts, 1), failure(stored(step.Err))
	case !step.WakeAt.IsZero():
		took, result = duration(step), "tried again at "+moment(step.WakeAt)
	}
	number := ""
	if attempts > 0 {
		number = strconv.Itoa(attempts)
	}
	return []string{status, string(step.Kind), moment(step.UpdatedAt), took, number, cut(result)}
}

// duration is that of a step's newest attempt; none for a step that was written by hand.
func duration(step workflow.Step) string {
	if step.StartedAt.IsZero() {
		return ""
	}
	return lasted(step.UpdatedAt.Sub(step.StartedAt))
}
