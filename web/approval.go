package web

import (
	"encoding/json"
	"net/http"
	"net/url"
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
	target.Step, target.Queue = open.Step, "" // the list of approvals does not know the queue
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

type approvalsView struct {
	Rows []approvalView
	From string
	Next string
}

const approvalsShown = 50

// approvals shows what people are asked.
func (d *dashboard) approvals(r *http.Request) (page, error) {
	query := r.URL.Query()
	from := strings.TrimSpace(query.Get("from"))
	found, err := d.svc.ListApprovals(r.Context(), workflow.ApprovalFilter{From: from, Limit: approvalsShown, Cursor: query.Get("cursor")})
	if err != nil {
		return page{}, err
	}
	view := approvalsView{From: from}
	now := time.Now()
	for _, open := range found.Approvals {
		view.Rows = append(view.Rows, d.options.approval(r, open, Target{RunID: open.RunID, Workflow: open.Workflow}, now))
	}
	if found.Next != "" {
		next := url.Values{"cursor": {found.Next}}
		if from != "" {
			next.Set("from", from)
		}
		view.Next = "approvals?" + next.Encode()
	}
	return page{template: "approvals", title: "Approvals", data: view, live: query.Get("cursor") == ""}, nil
}
