// Package otelworkflow makes OpenTelemetry traces and metrics of what happens to runs and steps.
//
//	observer, err := otelworkflow.New(otelworkflow.Config{})
//	svc, err := workflow.New(workflow.Config{DB: db, Observer: observer})
//	stop, err := observer.Watch(svc) // in one process or two: gauges of the whole schema
//
// # Traces
//
// The trace context of whoever starts a run is stored with the run, so that the trace goes on wherever that is executed, after parks and
// crashes too. A run has one span for each time that a process executes it ("run order"), and below that one for each attempt of a step
// that was executed ("step charge"); what is replayed has none. Spans that the application begins in these functions stand below them, and
// so do the runs that they call. A run that is started outside any span, as those of schedules are, begins a trace of its own with a span
// "start order".
//
// What a process that is killed was doing has no span: it was never exported. Sampling is decided where a trace begins.
//
// # Metrics
//
// Durations are in seconds, and error.type is the code of the error, or _OTHER. From the events of each process:
//
//	sqlworkflow.run.started       runs that were started
//	sqlworkflow.run.wait.duration how long runs waited until they were claimed
//	sqlworkflow.run.duration      how long a process has executed a run, by sqlworkflow.run.outcome: completed, failed, parked, blocked, handed_back, lost
//	sqlworkflow.run.takeovers     runs of dead workers that were taken over
//	sqlworkflow.step.duration     attempts of steps, by sqlworkflow.step.outcome: succeeded, retried, failed, interrupted
//	sqlworkflow.step.retries      attempts that failed and are repeated
//
// Of the whole schema, by [Observer.Watch]:
//
//	sqlworkflow.run.count         by sqlworkflow.run.state: waiting, running, parked, blocked
//	sqlworkflow.worker.count      workers that live
//	sqlworkflow.run.lag           for how long the oldest run that may be claimed has waited, by queue
//	sqlworkflow.queue.waiting     runs that would begin if their queue had room
//	sqlworkflow.queue.running     runs of a queue that run
//	sqlworkflow.queue.room        how many more may run at once; 0 while the queue is paused, and none without a limit
package otelworkflow

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/sqlworkflow/workflow"
)

// scope names who makes these spans and metrics.
const scope = "github.com/sqlworkflow/workflow/otelworkflow"

// Config says where spans and metrics go; the zero value takes what is set globally.
type Config struct {
	// TracerProvider makes the spans. Defaults to otel.GetTracerProvider().
	TracerProvider trace.TracerProvider

	// MeterProvider takes the metrics. Defaults to otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// Propagator writes the trace context that is stored with a run, 1 KiB at most, and reads it. Defaults to W3C trace context:
	// traceparent and tracestate. Add propagation.Baggage{} only if the database may have what it carries.
	Propagator propagation.TextMapPropagator
}

// Observer is for workflow.Config.Observer: it makes metrics of events, and spans of what is executed.
type Observer struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator
	instruments
}

var _ workflow.Tracer = (*Observer)(nil)

// New returns an observer. Its error is that of a meter provider which refuses an instrument.
func New(config Config) (*Observer, error) {
	if config.TracerProvider == nil {
		config.TracerProvider = otel.GetTracerProvider()
	}
	if config.MeterProvider == nil {
		config.MeterProvider = otel.GetMeterProvider()
	}
	if config.Propagator == nil {
		config.Propagator = propagation.TraceContext{}
	}
	o := &Observer{
		tracer: config.TracerProvider.Tracer(scope), meter: config.MeterProvider.Meter(scope), propagator: config.Propagator,
	}
	var err error
	o.instruments, err = newInstruments(o.meter)
	return o, err
}

// Attributes of spans and metrics.
const (
	workflowKey    = attribute.Key("sqlworkflow.workflow.name")
	queueKey       = attribute.Key("sqlworkflow.queue.name")
	runIDKey       = attribute.Key("sqlworkflow.run.id") // of spans alone
	runOutcomeKey  = attribute.Key("sqlworkflow.run.outcome")
	runStateKey    = attribute.Key("sqlworkflow.run.state")
	stepKey        = attribute.Key("sqlworkflow.step.name")
	stepKeyKey     = attribute.Key("sqlworkflow.step.key") // of spans alone: with its number, if the name was reached before
	stepOutcomeKey = attribute.Key("sqlworkflow.step.outcome")
	attemptKey     = attribute.Key("sqlworkflow.step.attempt") // of spans alone
	errorTypeKey   = attribute.Key("error.type")
)

// Inject implements [workflow.Tracer].
func (o *Observer) Inject(ctx context.Context, started workflow.Event) map[string]string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		name := "start"
		if started.Workflow != "" {
			name += " " + started.Workflow
		}
		var span trace.Span
		ctx, span = o.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attributesOf(started)...))
		span.End()
	}
	carrier := make(propagation.MapCarrier)
	o.propagator.Inject(ctx, carrier)
	return carrier
}

// Begin implements [workflow.Tracer].
func (o *Observer) Begin(ctx context.Context, begun workflow.Event) (context.Context, func(workflow.Event)) {
	name, kind := "run "+begun.Workflow, trace.SpanKindConsumer
	attributes := append(attributesOf(begun), runIDKey.String(begun.RunID))
	if begun.Kind == workflow.EventStepStarted {
		name, kind = "step "+stepName(begun.Step), trace.SpanKindInternal
		attributes = append(attributes, stepKeyKey.String(begun.Step), attemptKey.Int(begun.Attempt))
	} else {
		ctx = o.propagator.Extract(ctx, propagation.MapCarrier(begun.Trace))
	}
	ctx, span := o.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(begun.At), trace.WithAttributes(attributes...))
	return ctx, func(ended workflow.Event) { end(span, ended) }
}

// end ends a span as the run or the attempt did, at that time: it is told later.
func end(span trace.Span, e workflow.Event) {
	attributes := []attribute.KeyValue{outcome(e)}
	if failed(e) {
		attributes = append(attributes, errorType(e))
		span.SetStatus(codes.Error, message(e))
	}
	span.SetAttributes(attributes...)
	span.End(trace.WithTimestamp(e.At))
}

// attributesOf are those that a metric may have too: there are not many values of each.
func attributesOf(e workflow.Event) []attribute.KeyValue {
	var attributes []attribute.KeyValue
	if e.Workflow != "" {
		attributes = append(attributes, workflowKey.String(e.Workflow))
	}
	if e.Queue != "" {
		attributes = append(attributes, queueKey.String(e.Queue))
	}
	if e.Step != "" {
		attributes = append(attributes, stepKey.String(stepName(e.Step)))
	}
	return attributes
}

// stepName is a step's key without the number that it has if its name was reached before.
func stepName(key string) string {
	name, _, _ := strings.Cut(key, "#")
	return name
}

// outcome is what has become of a run or an attempt, by the event that tells it.
func outcome(e workflow.Event) attribute.KeyValue {
	if name, ok := strings.CutPrefix(string(e.Kind), "step_"); ok {
		return stepOutcomeKey.String(name)
	}
	return runOutcomeKey.String(strings.TrimPrefix(string(e.Kind), "run_"))
}

// failed reports whether an event tells of a failure, and not that something goes on elsewhere.
func failed(e workflow.Event) bool {
	switch e.Kind {
	case workflow.EventRunFailed, workflow.EventRunBlocked, workflow.EventStepFailed, workflow.EventStepRetried:
		return true
	default:
		return false
	}
}

func errorType(e workflow.Event) attribute.KeyValue {
	if e.Code != "" {
		return errorTypeKey.String(string(e.Code))
	}
	return errorTypeKey.String("_OTHER")
}

func message(e workflow.Event) string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}
