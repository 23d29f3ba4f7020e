package otelworkflow

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sqlworkflow/workflow"
)

// Source is what [Observer.Watch] asks: a *workflow.Service.
type Source interface {
	Stats(ctx context.Context) (workflow.Stats, error)
	ListQueues(ctx context.Context) ([]workflow.QueueState, error)
}

const (
	lookEvery   = time.Minute      // whatever the reader of metrics asks
	lookTimeout = 10 * time.Second // of one look
)

// Watch has the gauges of the whole schema reported with the metrics of this process, until stop. A look counts all runs (see
// [workflow.Service.Stats]), so there is at most one a minute, of ten seconds at most, however often metrics are read, and one process that
// watches is enough; a second one, should the first die, reports the same. Where several do, take the max and not the sum. A look that
// fails is reported to the reader of metrics, and there are no values then.
func (o *Observer) Watch(source Source) (stop func() error, err error) {
	w := &watch{source: source}
	registered, err := w.register(o.meter)
	if err != nil {
		return nil, err
	}
	return registered.Unregister, nil
}

type watch struct {
	source Source

	runs, workers, waiting, running, room metric.Int64ObservableUpDownCounter
	lag                                   metric.Float64ObservableGauge

	mu     sync.Mutex
	looked time.Time
	seen   look
}

// A look is the state of a schema at one moment.
type look struct {
	stats  workflow.Stats
	queues []workflow.QueueState
}

func (w *watch) register(meter metric.Meter) (metric.Registration, error) {
	var problems []error
	count := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		c, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return c
	}
	w.runs = count("sqlworkflow.run.count", "{run}", "Runs that are not finished, by their state.")
	w.workers = count("sqlworkflow.worker.count", "{worker}", "Workers that live.")
	w.waiting = count("sqlworkflow.queue.waiting", "{run}", "Runs that would begin if their queue had room.")
	w.running = count("sqlworkflow.queue.running", "{run}", "Runs of a queue that run.")
	w.room = count("sqlworkflow.queue.room", "{run}", "How many more runs of a queue may run at once.")
	lag, err := meter.Float64ObservableGauge("sqlworkflow.run.lag", metric.WithUnit("s"),
		metric.WithDescription("For how long the oldest run that may be claimed has waited."))
	w.lag = lag
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return meter.RegisterCallback(w.report, w.runs, w.workers, w.waiting, w.running, w.room, w.lag)
}

// report looks, unless it has just looked.
func (w *watch) report(ctx context.Context, to metric.Observer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looked.IsZero() || time.Since(w.looked) >= lookEvery {
		seen, err := w.look(ctx)
		if err != nil {
			return err
		}
		w.seen, w.looked = seen, time.Now()
	}
	stats := w.seen.stats
	blocked := stats.Suspended[workflow.SuspendedBlocked]
	for state, n := range map[string]int64{
		"waiting": stats.Runs[workflow.RunPending], "running": stats.Runs[workflow.RunRunning],
		"parked": stats.Runs[workflow.RunSuspended] - blocked, "blocked": blocked,
	} {
		to.ObserveInt64(w.runs, n, metric.WithAttributes(runStateKey.String(state)))
	}
	to.ObserveInt64(w.workers, int64(stats.Workers))
	to.ObserveFloat64(w.lag, stats.Lag.Seconds())
	for _, queue := range w.seen.queues {
		w.reportQueue(queue, to)
	}
	return nil
}

func (w *watch) reportQueue(queue workflow.QueueState, to metric.Observer) {
	name := metric.WithAttributeSet(attribute.NewSet(queueKey.String(queue.Name)))
	to.ObserveFloat64(w.lag, queue.Lag.Seconds(), name)
	to.ObserveInt64(w.waiting, queue.Waiting, name)
	to.ObserveInt64(w.running, queue.Running, name)
	switch {
	case !queue.PausedAt.IsZero():
		to.ObserveInt64(w.room, 0, name)
	case queue.MaxRunning > 0:
		to.ObserveInt64(w.room, max(0, int64(queue.MaxRunning)-queue.Running), name)
	}
}

func (w *watch) look(ctx context.Context) (seen look, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if seen.stats, err = w.source.Stats(ctx); err == nil {
		seen.queues, err = w.source.ListQueues(ctx)
	}
	return seen, err
}
