package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// What others have to do with a run: the signals that were sent to it, who was asked, and the runs that it has started.

const approvalSignal = "approval:"

// answers adds what a step has asked, and what was sent for it.
func answers(n *node, step workflow.Step, signals []workflow.SentSignal) {
	if step.Kind == workflow.ApprovalStep && step.Request != nil {
		n.add("asked", "", "", moment(step.StartedAt), "", "", cut(asked(step)))
	}
	for _, signal := range signals {
		switch {
		case signal.TakenBy == step.Name && step.Kind == workflow.ApprovalStep:
			addSignal(n, "decision", "counts", signal)
		case signal.TakenBy == step.Name:
			addSignal(n, "signal", "taken", signal)
		case step.Kind == workflow.ApprovalStep && signal.Name == approvalSignal+step.Name:
			addSignal(n, "decision", standingOf(signal, step), signal)
		}
	}
}

// standingOf says what became of a decision that the step has not taken.
func standingOf(decision workflow.SentSignal, step workflow.Step) string {
	overTime := !step.WakeAt.IsZero() && decision.SentAt.After(step.WakeAt)
	switch {
	case overTime, step.SignalSeq > 0 && decision.Seq > step.SignalSeq:
		return "late"
	case step.Status == workflow.StepScheduled:
		return "unread" // or refused: the run looks at it when it can
	case step.SignalSeq == 0 && decision.SentAt.After(step.UpdatedAt): // it was completed from outside
		return "late"
	default:
		return "refused"
	}
}

func addSignal(n *node, what, status string, signal workflow.SentSignal) {
	text := printable(string(signal.Payload))
	if signal.Key != "" {
		text += " with key " + printable(signal.Key)
	}
	n.add(what, status, "", moment(signal.SentAt), "", "", cut(text))
}

// asked says who was asked for what, in a line.
func asked(step workflow.Step) string {
	var request struct {
		From []string        `json:"from"`
		For  json.RawMessage `json:"for"`
	}
	if json.Unmarshal(step.Request, &request) != nil { // written by hand
		return printable(string(step.Request))
	}
	text := "anybody"
	if len(request.From) > 0 {
		text = strings.Join(request.From, ", ")
	}
	if !step.WakeAt.IsZero() {
		text += ", until " + moment(step.WakeAt)
	}
	if request.For != nil {
		text += ": " + string(request.For)
	}
	return printable(text)
}

// maxMembers is of how many runs of a step the tree has a line.
const maxMembers = 20

// started adds the runs that a step has started.
func started(n *node, step workflow.Step, children family) {
	if step.Kind != workflow.CallStep && step.Kind != workflow.SpawnStep {
		return
	}
	of := family{more: children.more}
	for _, m := range children.members {
		if m.run.ParentStep == step.Name || m.run.ID == step.ChildID {
			of.members = append(of.members, m)
		}
	}
	addFamily(n, of, step.RunID)
}

func addFamily(n *node, f family, parentID string) {
	for i, m := range f.members {
		if i == maxMembers {
			break
		}
		addFamily(addRun(n, m.run), m.children, m.run.ID)
	}
	left := len(f.members) - maxMembers
	switch {
	case len(f.members) == 0:
	case f.more:
		n.add("…", "", "", "", "", "", "more: workflow runs --parent "+printable(parentID))
	case left > 0:
		n.add("…", "", "", "", "", "", fmt.Sprintf("%d more: workflow runs --parent %s --limit %d", left, printable(parentID), len(f.members)))
	}
}

func addRun(n *node, run workflow.Run) *node {
	took, text := "", note(run)
	if run.Status.Finished() {
		took = lasted(run.UpdatedAt.Sub(run.CreatedAt))
	}
	if run.Status == workflow.RunCompleted {
		text = printable(string(run.Output))
	}
	return n.add("run "+run.ID, string(run.Status), run.Workflow, moment(run.UpdatedAt), took, "", cut(text))
}

// strays adds what belongs to no step: signals that none has taken, and runs whose step is gone.
func strays(root *node, r record) {
	steps := make(map[string]bool)
	for _, step := range r.steps {
		steps[step.Name] = true
		if step.ChildID != "" {
			steps["run "+step.ChildID] = true
		}
	}
	for _, signal := range r.signals {
		step, decides := strings.CutPrefix(signal.Name, approvalSignal)
		if signal.TakenBy == "" && (!decides || !steps[step]) {
			addSignal(root, "signal "+signal.Name, "unread", signal)
		}
	}
	for _, m := range r.children.members {
		if !steps[m.run.ParentStep] && !steps["run "+m.run.ID] {
			addFamily(addRun(root, m.run), m.children, m.run.ID)
		}
	}
}
