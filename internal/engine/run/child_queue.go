package run

import (
	"context"
	"fmt"

	"github.com/sqlworkflow/workflow/store"
)

// mustHaveQueue refuses to start runs in a queue that is not there, in which nothing would ever execute them. It is asked before they are
// started and not in a replay. A database that is away says nothing about the queue: it is asked again.
func (s *step) mustHaveQueue(c Children) error {
	if c.Queue == "" || c.HasQueue == nil {
		return nil
	}
	var there bool
	err := s.call.run.repeat("look up queue", func(ctx context.Context) (err error) {
		there, err = c.HasQueue(ctx, c.Queue)
		return err
	})
	switch {
	case err != nil:
		return s.unrecorded(asFailure(err))
	case !there:
		return Final(fmt.Errorf("workflow: step %q: queue %q: %w", s.key, c.Queue, store.ErrQueueNotFound))
	}
	return nil
}
