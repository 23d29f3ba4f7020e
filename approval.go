package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/store"
)

// Approval is a kind of question that people decide; make one with [DefineApproval].
type Approval[T any] struct{ name string }

// DefineApproval gives a kind of question its name, and the type of its answer, which travels as JSON: bool, or a struct of the
// application's. It panics on a name that no step can have, as that is a mistake in the program.
func DefineApproval[T any](name string) *Approval[T] {
	err := checkStepName(name)
	if err == nil {
		err = checkDecodable[T]()
	}
	if err != nil {
		panic(fmt.Sprintf("workflow: approval %q: %v", name, err))
	}
	return &Approval[T]{name: name}
}

// Name returns the name that the approval was defined with.
func (a *Approval[T]) Name() string { return a.name }

// ApprovalRequest says who is asked for what.
type ApprovalRequest struct {
	From   []string      // who may decide, by the names that Decide gets; none for anybody
	For    any           // what is to be decided on, as JSON
	Within time.Duration // nobody's decision counts after that; 0: no bound
}

// Decision is what somebody has decided.
type Decision[T any] struct {
	By    string
	Value T
}

// The JSON of an open approval's request, and of a decision.
type (
	requestJSON struct {
		From []string        `json:"from,omitempty"`
		For  json.RawMessage `json:"for"`
	}
	decisionJSON struct {
		By    string          `json:"by"`
		Value json.RawMessage `json:"value"`
	}
)

// Ask waits for a decision and returns the first that counts: that of one of those who are asked, and of the approval's type. It is a
// step, under the approval's name, and stands in [State.ListApprovals] until it is decided. The rest is as with [Signal.Wait]: when nobody
// has decided within request.Within, by the database's clock, the error is [ErrTimeout] and has [CodeTimeout].
//
// Decisions are signals. Those that do not count, and those that come too late, are kept as such: [State.ListSignals], and the
// command "workflow show", tell who has said what, and when.
func (a *Approval[T]) Ask(ctx context.Context, request ApprovalRequest) (Decision[T], error) {
	if err := checkWait(ctx, a.name, request.Within); err != nil {
		return Decision[T]{}, err
	}
	asked, err := request.encode(a.name, configOf(ctx).PayloadLimit)
	if err != nil {
		return Decision[T]{}, err
	}
	taken, err := run.Await(ctx, run.Wait{
		Step: a.name, Kind: ApprovalStep, Timeout: request.Within, Request: asked, Accept: counts[T],
	})
	if err != nil {
		return Decision[T]{}, waitError(err)
	}
	return decisionOf[T](taken)
}

func (r ApprovalRequest) encode(name string, limit int) (json.RawMessage, error) {
	about, err := encode(fmt.Sprintf("approval %q: what is to be decided on", name), r.For, limit)
	if err != nil {
		return nil, err
	}
	return encode(fmt.Sprintf("approval %q: request", name), requestJSON{r.From, about}, limit)
}

// counts reports whether a signal answers a request, which is the one that was recorded: what the function would ask today changes
// nothing.
func counts[T any](request json.RawMessage, signal store.Signal) bool {
	decision, err := decisionOf[T](signal.Payload)
	if err != nil {
		return false
	}
	from := requestOf(request).From
	return len(from) == 0 || slices.Contains(from, decision.By)
}

// requestOf decodes a request. One that was written by hand may be any JSON: it is asked of anybody then.
func requestOf(recorded json.RawMessage) (request requestJSON) {
	if json.Unmarshal(recorded, &request) != nil || request.For == nil {
		request.For = recorded
	}
	return request
}

// decisionOf decodes a decision; anybody may have sent anything.
func decisionOf[T any](payload json.RawMessage) (decision Decision[T], err error) {
	var sent decisionJSON
	if err := decode("decision", payload, &sent); err != nil {
		return decision, err
	}
	decision.By = sent.By
	err = decode("decision as "+typeName[T](), sent.Value, &decision.Value)
	return decision, err
}

// Decide decides an approval: by says who does, for the application has made sure of that. Whether the decision counts is found by the
// workflow, not here: the first one wins. On [Service.In] it exists if and only if the transaction commits, as with [Signal.Send], whose
// errors these are too: ErrRunNotFound, and ErrRunFinished when there is nobody left to be told.
func (a *Approval[T]) Decide(ctx context.Context, on Session, id, by string, decision T, options ...SendOption) error {
	runID, step, err := a.parse(id)
	if err != nil {
		return err
	}
	return on.state().decide(ctx, id, runID, step, by, decision, options)
}

// DecideApproval decides an approval by its id alone, for whoever has no type for its answer, such as an operator's page. The decision is
// encoded as JSON; a [json.RawMessage] is taken as it is. One that cannot be decoded by the workflow does not count. The rest is as with
// [Approval.Decide].
func (s State) DecideApproval(ctx context.Context, id, by string, decision any, options ...SendOption) error {
	runID, step, err := parseApprovalID(id)
	if err != nil {
		return err
	}
	return s.decide(ctx, id, runID, step, by, decision, options)
}

func (s State) decide(ctx context.Context, id, runID, step, by string, decision any, options []SendOption) error {
	if err := checkName("name of who decides", by, maxName); err != nil {
		return err
	}
	value, err := encode(fmt.Sprintf("decision of approval %q", id), decision, s.config.PayloadLimit)
	if err != nil {
		return err
	}
	return s.send(ctx, runID, approvalSignal+step, decisionJSON{by, value}, options)
}

// Decision returns the decision that counts, and whether there is one: decided is false as long as nobody has decided. When nobody did in
// time the error is [ErrTimeout]; ErrRunNotFound when there is no such run. Those that do not count are among [State.ListSignals].
func (a *Approval[T]) Decision(ctx context.Context, on Session, id string) (decision Decision[T], decided bool, err error) {
	runID, stepKey, err := a.parse(id)
	if err != nil {
		return decision, false, err
	}
	step, err := on.state().GetStepState(ctx, runID, stepKey)
	switch {
	case err != nil:
		return decision, false, err
	case step.Status == StepFailed:
		return decision, false, waitError(step.Err)
	case step.Status != StepSucceeded:
		return decision, false, nil
	}
	decision, err = decisionOf[T](step.Result)
	return decision, err == nil, err
}

// approvalSignal is what the names of decisions begin with; the step follows.
const approvalSignal = "approval:"

// ApprovalID returns the id of an approval, for a link in a mail: of the run, and of the step that asks, which is the approval's
// name, after that of its [Branch] if it is in one, as in "box/manager".
func ApprovalID(runID, step string) string { return url.PathEscape(runID) + "/" + step }

func parseApprovalID(id string) (runID, step string, err error) {
	escaped, step, found := strings.Cut(id, "/")
	runID, err = url.PathUnescape(escaped)
	if !found || err != nil {
		return "", "", fmt.Errorf("workflow: approval id %q: %w: ApprovalID and ListApprovals give no such id", id, ErrInvalidArgument)
	}
	return runID, step, checkStepKey(step)
}

// parse takes ids of this approval only.
func (a *Approval[T]) parse(id string) (runID, step string, err error) {
	runID, step, err = parseApprovalID(id)
	if err != nil {
		return "", "", err
	}
	if name, _, _ := strings.Cut(step[strings.LastIndexByte(step, '/')+1:], "#"); name != a.name {
		return "", "", fmt.Errorf("workflow: approval id %q: %w: it is one of approval %q, not of %q", id, ErrInvalidArgument, name, a.name)
	}
	return runID, step, nil
}

// OpenApproval is an approval that somebody can decide.
type OpenApproval struct {
	ID       string // for [Approval.Decide]
	RunID    string
	Workflow string
	Step     string
	From     []string        // who may decide; none: anybody
	For      json.RawMessage // what is to be decided on
	AskedAt  time.Time       // by the database's clock
	Until    time.Time       // nobody's decision counts after that; zero: no bound
}

// DecodeFor stores what is to be decided on in the value that v points to, as [json.Unmarshal] does.
func (a OpenApproval) DecodeFor(v any) error {
	return decode(fmt.Sprintf("approval %q", a.ID), a.For, v)
}

// ApprovalFilter selects open approvals; the zero value selects all.
type ApprovalFilter struct {
	From   string // only those that this person may decide; "" for all
	Limit  int    // approvals a page. Defaults to 100; at most 1,000
	Cursor string // ApprovalPage.Next of the page before; "" for the first page
}

// ApprovalPage is one page of a list.
type ApprovalPage struct {
	Approvals []OpenApproval
	Next      string // ApprovalFilter.Cursor of the next page; "" when this is the last one
}

// ListApprovals returns a page of the open approvals, newest first: those of unfinished runs that are neither decided nor out of time.
func (s State) ListApprovals(ctx context.Context, filter ApprovalFilter) (ApprovalPage, error) {
	if err := s.ready(ctx, "list approvals"); err != nil {
		return ApprovalPage{}, err
	}
	setDefault(&filter.Limit, defaultPage)
	if filter.Limit < 0 || filter.Limit > maxPage {
		return ApprovalPage{}, fmt.Errorf("workflow: ApprovalFilter.Limit is %d: %w: at most %d", filter.Limit, ErrInvalidArgument, maxPage)
	}
	if filter.From != "" {
		if err := checkName("ApprovalFilter.From", filter.From, maxName); err != nil {
			return ApprovalPage{}, err
		}
	}
	if filter.Cursor != "" {
		if err := checkName("ApprovalFilter.Cursor", filter.Cursor, 2*maxStepKey); err != nil {
			return ApprovalPage{}, err
		}
	}
	found, err := s.store.ListApprovals(ctx, store.ApprovalFilter(filter))
	page := ApprovalPage{Next: found.Next}
	for _, open := range found.Approvals {
		page.Approvals = append(page.Approvals, approvalOf(open))
	}
	return page, err
}

func approvalOf(open store.Approval) OpenApproval {
	request := requestOf(open.Request)
	return OpenApproval{
		ID: ApprovalID(open.RunID, open.Step), RunID: open.RunID, Workflow: open.Workflow, Step: open.Step,
		From: request.From, For: request.For, AskedAt: open.AskedAt, Until: open.Until,
	}
}
