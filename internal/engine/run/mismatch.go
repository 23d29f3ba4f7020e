package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sqlworkflow/workflow/store"
)

// unreached is a mismatch when steps are recorded that the function has not asked for: it is not the function that wrote them.
// A branch may have been left behind by a function that failed; its root has not.
func (r *Run) unreached(c *call) *store.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for prefix, n := range c.ahead {
		if n > 0 && (c.failed == nil || prefix == "") {
			return mismatch("the function returned without reaching recorded steps: %s", c.unreachedKeys(prefix))
		}
	}
	return nil
}

// mismatch is the error of a run that is blocked because its function does not do what it did before.
func mismatch(format string, args ...any) *store.Error {
	return &store.Error{Code: codeNondeterministic, Message: fmt.Sprintf(format, args...) +
		" (a workflow's function must do the same each time: use Patched for a change while runs are unfinished, or give a changed workflow another name)"}
}

// prefixOf returns the branch that a key belongs to.
func prefixOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

// countsAsAhead reports whether the function must come to a recorded step again. Rows of the state API have no seq and do not
// count; nor do the markers of Patched, which go with the code that asked.
func countsAsAhead(step *record) bool { return step.Seq > 0 && step.Kind != store.PatchStep }

// mismatched ends the call because something does not match the record, whatever the function makes of the error. It expects mu
// to be held.
func (c *call) mismatched(problem *store.Error) error {
	if c.mismatch == nil {
		c.mismatch = problem
		c.interrupt(fmt.Errorf("%w (%w)", ErrInterrupted, problem))
	}
	return fmt.Errorf("%w (%w)", ErrInterrupted, c.mismatch)
}

// unreachedKeys lists recorded steps of a branch that the function has not asked for. It expects mu to be held.
func (c *call) unreachedKeys(prefix string) string {
	var keys []string
	for key, step := range c.run.recorded {
		if prefixOf(key) == prefix && countsAsAhead(step) && !c.reached[key] {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return c.run.recorded[a].Seq - c.run.recorded[b].Seq })
	const most = 10
	if len(keys) > most {
		keys = append(keys[:most], "…")
	}
	return strings.Join(keys, ", ")
}
