package otelworkflow

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sqlworkflow/workflow"
)

// instruments are what events are counted and measured by.
type instruments struct {
	started   metric.Int64Counter
	takeovers metric.Int64Counter
	retries   metric.Int64Counter
	waits     metric.Float64Histogram
	runs      metric.Float64Histogram
	steps     metric.Float64Histogram
}

// Work lasts from milliseconds to an hour.
var buckets = metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

func newInstruments(meter metric.Meter) (i instruments, err error) {
	var problems []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return c
	}
	durations := func(name, description string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), buckets)
		problems = append(problems, err)
		return h
	}
	i = instruments{
		started:   counter("sqlworkflow.run.started", "{run}", "Runs that were started."),
		takeovers: counter("sqlworkflow.run.takeovers", "{run}", "Runs of dead workers that were taken over."),
		retries:   counter("sqlworkflow.step.retries", "{attempt}", "Attempts of steps that have failed and are repeated."),
		waits:     durations("sqlworkflow.run.wait.duration", "How long runs waited until they were claimed."),
		runs:      durations("sqlworkflow.run.duration", "How long a process has executed a run until it ended or was left."),
		steps:     durations("sqlworkflow.step.duration", "How long attempts of steps have taken."),
	}
	return i, errors.Join(problems...)
}

// Observe implements [workflow.Observer].
func (o *Observer) Observe(e workflow.Event) {
	ctx, attributes := context.Background(), attributesOf(e)
	switch e.Kind {
	case workflow.EventRunStarted:
		o.started.Add(ctx, 1, metric.WithAttributes(attributes...))
	case workflow.EventRunTakenOver:
		o.takeovers.Add(ctx, 1, metric.WithAttributes(attributes...))
	case workflow.EventRunClaimed:
		o.waits.Record(ctx, e.Waited.Seconds(), metric.WithAttributes(attributes...))
	case workflow.EventRunCompleted, workflow.EventRunFailed, workflow.EventRunParked, workflow.EventRunBlocked,
		workflow.EventRunHandedBack, workflow.EventRunLost:
		o.runs.Record(ctx, e.Took.Seconds(), ended(e, attributes))
	case workflow.EventStepRetried:
		o.retries.Add(ctx, 1, metric.WithAttributes(attributes...))
		o.steps.Record(ctx, e.Took.Seconds(), ended(e, attributes))
	case workflow.EventStepSucceeded, workflow.EventStepFailed, workflow.EventStepInterrupted:
		o.steps.Record(ctx, e.Took.Seconds(), ended(e, attributes))
	}
}

func ended(e workflow.Event, attributes []attribute.KeyValue) metric.MeasurementOption {
	attributes = append(attributes, outcome(e))
	if failed(e) {
		attributes = append(attributes, errorType(e))
	}
	return metric.WithAttributes(attributes...)
}
