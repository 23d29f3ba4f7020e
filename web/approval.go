package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// An approvalView is a question that nobody has answered.
type approvalView struct {
	ID, RunID, Workflow, Step string
	From                      string // who may decide
	For                       payload
	Asked, Until              moment
	Can                       bool
	By                        string // who would decide
	AsksName                  bool   // nobody knows who that is
}

// approvalOf is that of a step of a run.
func approvalOf(options Options, r *http.Request, k known, step workflow.Step, target Target) approvalView {
	var request struct {
		From []string        `json:"from"`
		For  json.RawMessage `json:"for"`
	}
	if json.Unmarshal(step.Request, &request) != nil || request.For == nil {
		request.For = step.Request // it was written by hand
	}
	return options.approval(r, workflow.OpenApproval{
		ID: workflow.ApprovalID(k.run.ID, step.Name), RunID: k.run.ID, Workflow: k.run.Workflow, Step: step.Name,
		From: request.From, For: request.For, AskedAt: step.StartedAt, Until: step.WakeAt,
	}, target, k.why.Now)
}

func (o Options) approval(r *http.Request, open workflow.OpenApproval, target Target, now time.Time) approvalView {
	target.Step = open.Step
	view := approvalView{
		ID: open.ID, RunID: open.RunID, Workflow: open.Workflow, Step: open.Step, From: strings.Join(open.From, ", "),
		For:   payloadOf(open.For, o.allows(r, ActionPayloads, target)),
		Asked: momentOf(open.AskedAt, now), Until: momentOf(open.Until, now),
		Can: o.allows(r, ActionDecide, target), AsksName: o.User == nil,
	}
	if o.User != nil {
		view.By = o.User(r)
	}
	return view
}
