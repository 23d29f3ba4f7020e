package otelworkflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/otelworkflow"
)

// measured returns what a reader collects: of a counter or a gauge its value, of a histogram how often it was measured.
func measured(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	kit.Must(t, reader.Collect(t.Context(), &all))
	values := make(map[string]int64)
	put := func(name string, attributes attribute.Set, n int64) {
		values[name+" "+attributes.Encoded(attribute.DefaultEncoder())] = n
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, int64(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, int64(p.Count)) //nolint:gosec // a few
				}
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	return values
}

// Each event is counted where it belongs, by attributes of which there are not many values.
func TestEventsAreMeasured(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	o, err := otelworkflow.New(otelworkflow.Config{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	kit.Must(t, err)
	failure := errors.New("no")
	for _, e := range []workflow.Event{
		{Kind: workflow.EventRunStarted}, {Kind: workflow.EventRunTakenOver}, {Kind: workflow.EventRunClaimed, Waited: time.Second},
		{Kind: workflow.EventRunWoken}, {Kind: workflow.EventRunCancelled}, // which the others tell as well
		{Kind: workflow.EventRunCompleted}, {Kind: workflow.EventRunFailed, Code: "broken", Err: failure}, {Kind: workflow.EventRunParked},
		{Kind: workflow.EventRunBlocked, Code: workflow.CodeHistory}, {Kind: workflow.EventRunHandedBack}, {Kind: workflow.EventRunLost},
		{Kind: workflow.EventStepStarted, Step: "s"}, {Kind: workflow.EventStepSucceeded, Step: "s"}, {Kind: workflow.EventStepSucceeded, Step: "s#7"},
		{Kind: workflow.EventStepRetried, Step: "s", Err: failure}, {Kind: workflow.EventStepFailed, Step: "s", Err: failure},
		{Kind: workflow.EventStepInterrupted, Step: "s"},
	} {
		e.RunID, e.Workflow, e.Queue, e.Took, e.Attempt = "r", "w", "q", time.Second, 1
		o.Observe(e)
	}
	run := "sqlworkflow.queue.name=q,"
	step, of := run+"sqlworkflow.step.name=s,", "sqlworkflow.workflow.name=w"
	want := map[string]int64{
		"sqlworkflow.run.started " + run + of:                                                            1,
		"sqlworkflow.run.takeovers " + run + of:                                                          1,
		"sqlworkflow.run.wait.duration " + run + of:                                                      1,
		"sqlworkflow.run.duration " + run + "sqlworkflow.run.outcome=completed," + of:                    1,
		"sqlworkflow.run.duration error.type=broken," + run + "sqlworkflow.run.outcome=failed," + of:     1,
		"sqlworkflow.run.duration " + run + "sqlworkflow.run.outcome=parked," + of:                       1,
		"sqlworkflow.run.duration error.type=history," + run + "sqlworkflow.run.outcome=blocked," + of:   1,
		"sqlworkflow.run.duration " + run + "sqlworkflow.run.outcome=handed_back," + of:                  1,
		"sqlworkflow.run.duration " + run + "sqlworkflow.run.outcome=lost," + of:                         1,
		"sqlworkflow.step.duration " + step + "sqlworkflow.step.outcome=succeeded," + of:                 2,
		"sqlworkflow.step.duration error.type=_OTHER," + step + "sqlworkflow.step.outcome=retried," + of: 1,
		"sqlworkflow.step.duration error.type=_OTHER," + step + "sqlworkflow.step.outcome=failed," + of:  1,
		"sqlworkflow.step.duration " + step + "sqlworkflow.step.outcome=interrupted," + of:               1,
		"sqlworkflow.step.retries " + step + of:                                                          1,
	}
	if diff := cmp.Diff(want, measured(t, reader)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// source counts the looks at a service.
type source struct {
	*workflow.Service
	looks atomic.Int32
	err   error
}

func (s *source) Stats(ctx context.Context) (workflow.Stats, error) {
	s.looks.Add(1)
	if s.err != nil {
		return workflow.Stats{}, s.err
	}
	return s.Service.Stats(ctx)
}

// The gauges say how a real schema stands, and look at it once for many readings.
func TestSchemaIsWatched(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	defer svc.Close()
	kit.Must(t, svc.EnsureQueue(t.Context(), workflow.Queue{Name: "mail", MaxRunning: 5}))
	kit.Must(t, svc.EnsureQueue(t.Context(), workflow.Queue{Name: "free"}))
	kit.Must(t, svc.EnsureQueue(t.Context(), workflow.Queue{Name: "paused", MaxRunning: 5}))
	kit.Must(t, svc.PauseQueue(t.Context(), "paused"))
	kit.Exec(t, db, `
INSERT INTO workflows.workflow_runs (id, workflow, status, suspended_for, queue, priority, partition_key, run_at, input, created_at, updated_at)
SELECT state || n, 'w', status, reason, queue, 2, CASE WHEN queue IS NOT NULL THEN '' END, CASE WHEN status = 'pending' THEN (extract(epoch FROM now()) * 1000)::bigint - 3600000 END, '1', 0, 0
FROM (VALUES ('waiting', 'pending', NULL, NULL, 1), ('running', 'running', NULL, NULL, 2), ('parked', 'suspended', 'signal', NULL, 3),
             ('slept', 'suspended', 'time', NULL, 1), ('blocked', 'suspended', 'blocked', NULL, 4), ('ended', 'completed', NULL, NULL, 5),
             ('queued', 'pending', NULL, 'mail', 6), ('busy', 'running', NULL, 'mail', 3)) AS given (state, status, reason, queue, n_runs)
CROSS JOIN LATERAL generate_series(1, n_runs) AS n`)
	reader := metric.NewManualReader()
	o, err := otelworkflow.New(otelworkflow.Config{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	kit.Must(t, err)
	watched := &source{Service: svc, err: errors.New("the database is away")}
	stop, err := o.Watch(watched)
	kit.Must(t, err)
	var none metricdata.ResourceMetrics
	kit.WantIs(t, reader.Collect(t.Context(), &none), watched.err)
	watched.err = nil
	var got map[string]int64
	for range 3 {
		got = measured(t, reader)
	}
	if n := watched.looks.Load(); n != 2 {
		t.Errorf("there were %d looks, want one that failed and one more", n)
	}
	for name, lag := range got {
		if lag >= 3600 && lag < 3700 { // an hour and what the test has taken
			got[name] = 3600
		}
	}
	want := map[string]int64{"sqlworkflow.worker.count ": 0, "sqlworkflow.run.lag ": 3600}
	for state, n := range map[string]int64{"waiting": 7, "running": 5, "parked": 4, "blocked": 4} {
		want["sqlworkflow.run.count sqlworkflow.run.state="+state] = n
	}
	for queue, n := range map[string][3]int64{"mail": {6, 3, 2}, "free": {0, 0, -1}, "paused": {0, 0, 0}} {
		for i, name := range []string{"waiting", "running", "room"} {
			if n[i] >= 0 {
				want[fmt.Sprintf("sqlworkflow.queue.%s sqlworkflow.queue.name=%s", name, queue)] = n[i]
			}
		}
		want["sqlworkflow.run.lag sqlworkflow.queue.name="+queue] = map[bool]int64{true: 3600}[queue == "mail"]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	kit.Must(t, stop())
	if got := measured(t, reader); len(got) > 0 {
		t.Errorf("after stop: %v", got)
	}
}
