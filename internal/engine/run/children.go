package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Children are runs that a step starts: of one workflow, one for each input.
type Children struct {
	Workflow  string
	Inputs    []json.RawMessage
	Place     store.Place   // where they wait
	Delay     time.Duration // before they may begin
	Deadline  time.Duration // of each, from its start on; 0: none
	Abandoned bool          // they go on when the run is cancelled

	request json.RawMessage // of a CallAll: how many there are
}

// errChildCancelled is what a Call fails with when its child was cancelled.
var errChildCancelled = &store.Error{Code: codeCancelled, Message: "the run was cancelled"}

// A Child is how one of them has ended.
type Child struct {
	RunID  string          `json:"run_id"`
	Status store.RunStatus `json:"status"`
	Output json.RawMessage `json:"output,omitempty"` // of a completed one
	Err    *store.Error    `json:"error,omitempty"`  // of a failed one
	Step   string          `json:"-"`                // that waited for it, by key
}

// MaxDepth is how many ancestors a run may have.
const MaxDepth = 32

// ErrTooDeep is returned where a run would have more ancestors than that.
var ErrTooDeep = fmt.Errorf("a run has at most %d ancestors", MaxDepth)

// Call starts one child and waits until it has ended. A child that failed, or was cancelled, is an outcome and not an error.
func Call(ctx context.Context, name string, c Children) (Child, error) {
	s, err := enter(ctx, name, store.CallStep)
	if err != nil {
		return Child{}, err
	}
	defer s.leave()
	if err := s.sameCall(nil); err != nil {
		return Child{}, err
	}
	if err := s.callChildren(ctx, c, oneChild); err != nil {
		return Child{}, err
	}
	defer s.forget()
	recorded := s.recorded
	child := Child{RunID: recorded.ChildID, Status: store.RunCompleted, Output: recorded.Result, Step: s.key}
	if recorded.Status == store.StepFailed {
		child.Status, child.Output = store.RunFailed, nil
		if !errors.As(recorded.Err, &child.Err) {
			child.Err = store.NewError(recorded.Err)
		}
		if *child.Err == *errChildCancelled { // one that failed with a code of that name has another message
			child.Status = store.RunCancelled
		}
	}
	return child, nil
}

// CallAll starts a child for each input in one statement, and waits until all have ended. They come in the order of the inputs.
func CallAll(ctx context.Context, name string, c Children) ([]Child, error) {
	s, err := enter(ctx, name, store.CallStep)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	c.request = json.RawMessage(`{"children":` + strconv.Itoa(len(c.Inputs)) + `}`)
	if err := s.sameCall(c.request); err != nil {
		return nil, err
	}
	if err := s.callChildren(ctx, c, allChildren); err != nil {
		return nil, err
	}
	defer s.forget()
	result, err := s.outcome()
	if err != nil {
		return nil, err
	}
	var children []Child
	if err := json.Unmarshal(result, &children); err != nil {
		return nil, fmt.Errorf("workflow: step %q: its result is not that of children: %w", s.key, err)
	}
	for i := range children {
		children[i].Step = s.key
	}
	return children, nil
}

// Spawn starts a child for each input and returns their ids at once. Nobody waits for them.
func Spawn(ctx context.Context, name string, c Children) ([]string, error) {
	s, err := enter(ctx, name, store.SpawnStep)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if s.recorded == nil {
		if err := s.start(ctx, c); err != nil {
			return nil, err
		}
	}
	return s.childIDs(len(c.Inputs)), nil
}

// sameCall is a mismatch when the step is recorded with another number of children, or as one child instead of a list.
func (s *step) sameCall(request json.RawMessage) error {
	if s.recorded == nil || s.recorded.Seq == 0 || sameRequest(s.recorded.Request, request) {
		return nil
	}
	describe := func(request json.RawMessage) string {
		if request == nil {
			return "one run"
		}
		return "a list of runs, " + string(request)
	}
	s.call.run.mu.Lock()
	defer s.call.run.mu.Unlock()
	return s.call.mismatched(mismatch("step %q is recorded as a call of %s, and was reached as one of %s",
		s.key, describe(s.recorded.Request), describe(request)))
}

// sameRequest compares requests of calls, of which the database writes the spaces.
func sameRequest(a, b json.RawMessage) bool {
	return bytes.Equal(bytes.ReplaceAll(a, []byte(" "), nil), bytes.ReplaceAll(b, []byte(" "), nil))
}

// callChildren starts the children of the step, unless it has, and waits until it has ended.
func (s *step) callChildren(ctx context.Context, c Children, ended func([]store.Run, []string) *store.Take) error {
	if err := s.recall(); err != nil {
		return err
	}
	if s.unopened() {
		if err := s.start(ctx, c); err != nil {
			return err
		}
	}
	w := &wait{causes: []string{stepCause + s.key}}
	for !s.recorded.hasEnded() {
		err := s.call.wait(ctx, w, s.arrived)
		if err == nil {
			err = s.takeArrival(ctx, func(children []store.Run) *store.Take { return ended(children, s.childIDs(len(c.Inputs))) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeArrival ends the step with what has arrived for it.
func (s *step) takeArrival(ctx context.Context, ended func([]store.Run) *store.Take) error {
	r := s.call.run
	a := s.newAttempt()
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	defer s.call.done(a)
	r.mu.Lock()
	arrived := r.inbox.arrived[s.key]
	delete(r.inbox.arrived, s.key)
	r.mu.Unlock()
	switch {
	case arrived == nil:
		return nil
	case arrived.step.hasEnded():
		s.remember(arrived.step)
		return nil
	default:
		return s.close(a, ended(arrived.children))
	}
}

// start starts the children of the step, in the statement that records the step.
func (s *step) start(ctx context.Context, c Children) error {
	r, awaited := s.call.run, s.kind == store.CallStep
	switch {
	case r.depth >= MaxDepth:
		return Final(fmt.Errorf("workflow: step %q: %w", s.key, ErrTooDeep))
	case len(c.Inputs) > r.env.MaxSteps:
		return Final(fmt.Errorf("workflow: step %q: %w: %d children, at most %d (see Config.MaxSteps)",
			s.key, ErrTooManySteps, len(c.Inputs), r.env.MaxSteps))
	}
	if err := s.needsQueue(c.Place.Queue); err != nil {
		return err
	}
	row := &store.Schedule{Request: c.request, Children: &store.Children{
		Workflow: c.Workflow, Place: c.Place, Version: r.env.Version, IDs: s.childIDs(len(c.Inputs)), Inputs: c.Inputs,
		Delay: c.Delay, Deadline: c.Deadline, Depth: r.depth + 1, Abandoned: c.Abandoned, Awaited: awaited,
		Dispatched: r.env.Dispatched, Trace: r.inject(ctx, c),
	}}
	if awaited {
		r.mu.Lock()
		put(&r.inbox.children, s.key, len(c.Inputs))
		r.mu.Unlock()
	}
	if err := s.schedule(ctx, row); err != nil {
		return err
	}
	r.tellStarted(c, row.Children.IDs)
	if c.Delay == 0 {
		r.env.Created(c.Place.Queue, len(c.Inputs))
	} else {
		r.env.Due(c.Delay)
	}
	return nil
}

// needsQueue refuses what is to be started on a queue that does not exist: it would wait for ever. Nothing of the step is recorded then.
func (s *step) needsQueue(name string) error {
	r := s.call.run
	if name == "" {
		return nil
	}
	var found bool
	err := r.repeat("look for queue", func(ctx context.Context) (err error) {
		found, err = r.env.HasQueue(ctx, name)
		return err
	})
	switch {
	case err != nil:
		return r.lost(err)
	case !found:
		return Final(fmt.Errorf("workflow: step %q: queue %q: %w", s.key, name, store.ErrQueueNotFound))
	default:
		return nil
	}
}

const (
	maxRunID  = 255 // the longest id of a run, in bytes
	childHash = 16  // bytes
)

// childIDs are those of the first n children of the step: always the same, so that a crash cannot double them, and alike at the
// beginning for all that descend from one run, so that they stand side by side in the index.
func (s *step) childIDs(n int) []string {
	r := s.call.run
	root := r.id
	if r.depth > 0 {
		root = root[:strings.LastIndexByte(root, '.')]
	}
	if most := maxRunID - len(".") - 2*childHash; len(root) > most { // the hash is of all of it
		root = strings.ToValidUTF8(root[:most], "")
	}
	ids := make([]string, n)
	for i := range ids {
		hash := sha256.Sum256([]byte(r.id + "\x00" + s.key + "\x00" + strconv.Itoa(i)))
		ids[i] = root + "." + hex.EncodeToString(hash[:childHash])
	}
	return ids
}

// oneChild is how the step of a Call ends: as its child did.
func oneChild(found []store.Run, ids []string) *store.Take {
	child := childrenOf(found, ids)[0]
	if child.Status == store.RunCompleted {
		return &store.Take{Result: child.Output}
	}
	return &store.Take{Err: child.Err}
}

// allChildren is how the step of a CallAll ends: with how each child did.
func allChildren(found []store.Run, ids []string) *store.Take {
	result, err := marshal(childrenOf(found, ids))
	if err != nil {
		return &store.Take{Err: store.NewError(err)}
	}
	return &store.Take{Result: result}
}

// marshal leaves the texts within v as they are, but for white space; json.Marshal would escape some of their characters.
func marshal(v any) (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}

// childrenOf returns how the children with these ids have ended, in their order. One that was deleted has failed.
func childrenOf(found []store.Run, ids []string) []Child {
	byID := make(map[string]*store.Run, len(found))
	for i := range found {
		byID[found[i].ID] = &found[i]
	}
	children := make([]Child, len(ids))
	for i, id := range ids {
		children[i] = Child{RunID: id, Status: store.RunFailed, Err: &store.Error{Code: codeDeleted, Message: "the run was deleted"}}
		if run := byID[id]; run != nil {
			children[i] = childOf(run)
		}
	}
	return children
}

func childOf(run *store.Run) Child {
	child := Child{RunID: run.ID, Status: run.Status}
	switch run.Status {
	case store.RunCompleted:
		child.Output = run.Output
		if child.Output == nil {
			child.Output = json.RawMessage("null")
		}
	case store.RunCancelled:
		child.Err = errChildCancelled
	default:
		if !errors.As(run.Err, &child.Err) {
			child.Err = &store.Error{Message: "no reason was recorded"}
		}
	}
	return child
}
