package workflow_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// why asks until the answer has the code.
func (b *bench) why(runID string, code workflow.WhyCode) (why workflow.Why) {
	b.t.Helper()
	defer func() {
		if why.Code != code {
			b.t.Errorf("last answer: %+v: %s", why, why)
		}
	}()
	kit.Until(b.t, runID+" does not move because "+string(code), func() bool {
		var err error
		why, err = b.svc.Why(b.t.Context(), runID)
		kit.Must(b.t, err)
		return why.Code == code
	})
	return why
}

// wantWhy compares the answer with what the test knows of the run, and its sentence with the words. Of times only those that the
// test gives are compared: to the minute, since only the database knows them.
func (b *bench) wantWhy(got, want workflow.Why, words ...string) {
	b.t.Helper()
	run := b.get(got.RunID)
	want.RunID, want.Workflow, want.Queue, want.Partition = run.ID, run.Workflow, run.Queue, run.Partition
	want.Now, want.Status, want.WaitsFor = got.Now, got.Status, got.WaitsFor // may have changed since; the words say them
	if off := time.Since(got.Now); off < -time.Minute || off > time.Minute {
		b.t.Errorf("%s: now is %s", got.Code, got.Now)
	}
	if diff := cmp.Diff(want, got, aboutThen); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", got.Code, diff)
	}
	if text := got.String(); !containsAll(text, words) {
		b.t.Errorf("%s: %q does not say %q", got.Code, text, words)
	}
	b.t.Logf("%s: %s", got.Code, got)
}

// aboutThen takes times for the same that are.
var aboutThen = cmp.Comparer(func(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Minute
})

// whyBench is a bench with a worker of the given workflows, in a process of its own.
func whyBench(t *testing.T, change func(*workflow.Config), definitions ...workflow.Definition) *bench {
	t.Helper()
	b := setup(t)
	b.worker(change, definitions...)
	return b
}

// worker makes another process work.
func (b *bench) worker(change func(*workflow.Config), definitions ...workflow.Definition) {
	b.t.Helper()
	count := func() int { return kit.One[int](b.t, b.db, `SELECT count(*) FROM workflows.workflow_workers`) }
	before := count()
	svc := b.service(func(c *workflow.Config) { c.Lease, c.Drain = longLease, 10*time.Millisecond; change(c) })
	svc.Register(definitions...)
	kit.Work(b.t, svc)
	kit.Until(b.t, "the worker is there", func() bool { return count() > before })
}

// started is the id of a run that was started.
func started[T any](handle *workflow.Handle[T], err error) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		kit.Must(t, err)
		return handle.RunID()
	}
}

func unchanged(*workflow.Config) {}

// longLease keeps a worker its lease on the busiest machine. Its heartbeats are far apart, so it says nothing of steps in flight.
const longLease = 30 * time.Minute

var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`)
	spans    = regexp.MustCompile(`\b(\d+h)?(\d+m)?[0-9.]+(s|ms)\b`)
)

// timeless is a sentence without its times.
func timeless(text string) string {
	return spans.ReplaceAllString(instants.ReplaceAllString(text, "then"), "a while")
}

// hold is a workflow whose runs stay in a step until their worker stops.
var hold = workflow.Define("hold", func(ctx context.Context, _ int) (int, error) {
	return workflow.Do(ctx, "charge", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
})

// nobodys is a workflow that only other processes would know.
var nobodys = workflow.Define[int, int]("nobody's", nil)
