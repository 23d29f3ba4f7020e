package main

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sqlworkflow/workflow"
)

// progress tells how far the work is: on a terminal in a line that changes, elsewhere by a line a second.
type progress struct {
	total             int
	completed, failed atomic.Int64
	done, shown       chan struct{}
}

func newProgress(out *os.File, total int) *progress {
	p := &progress{total: total, done: make(chan struct{}), shown: make(chan struct{})}
	every, format, last := time.Second, "%s\n", "%s\n"
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		every, format, last = 100*time.Millisecond, "\r%s", "\r%s\n"
	}
	go func() {
		defer close(p.shown)
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				fmt.Fprintf(out, format, p)
			case <-p.done:
				fmt.Fprintf(out, last, p)
				return
			}
		}
	}()
	return p
}

// ended counts a run by what its handle returned.
func (p *progress) ended(err error) {
	var failed *workflow.RunError
	switch {
	case err == nil:
		p.completed.Add(1)
	case errors.As(err, &failed):
		p.failed.Add(1)
	}
}

func (p *progress) String() string {
	completed, failed := p.completed.Load(), p.failed.Load()
	return fmt.Sprintf("  %4d of %d lines done: %d completed, %d failed", completed+failed, p.total, completed, failed)
}

// stop shows the last state.
func (p *progress) stop() {
	close(p.done)
	<-p.shown
}
