package otelworkflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/otelworkflow"
)

const lease = time.Second

// A span is what tests compare of one.
type span struct {
	Name, TraceID, SpanID, ParentID string
	Outcome, Error                  string
	Attempt                         int64
}

func spanOf(s sdk.ReadOnlySpan) span {
	is := span{
		Name: s.Name(), TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(),
		ParentID: s.Parent().SpanID().String(),
	}
	if s.Status().Code == codes.Error {
		is.Error = s.Status().Description
	}
	for _, a := range s.Attributes() {
		switch a.Key {
		case "sqlworkflow.run.outcome", "sqlworkflow.step.outcome":
			is.Outcome = a.Value.AsString()
		case "sqlworkflow.step.attempt":
			is.Attempt = a.Value.AsInt64()
		}
	}
	return is
}

// provider is one whose spans are exported as soon as they end.
func provider(exporter sdk.SpanExporter) *sdk.TracerProvider {
	return sdk.NewTracerProvider(sdk.WithSyncer(exporter))
}

func newService(db *sql.DB, spans *sdk.TracerProvider) (*workflow.Service, error) {
	observer, err := otelworkflow.New(otelworkflow.Config{TracerProvider: spans})
	if err != nil {
		return nil, err
	}
	return workflow.New(workflow.Config{DB: db, Observer: observer, Lease: lease, PollInterval: 20 * time.Millisecond})
}

var arrived = workflow.DefineSignal[int]("arrived")

// order has a step, one in which hold is called, a wait, and a call; in each function the application begins a span of its own.
func order(spans *sdk.TracerProvider, hold func(context.Context)) (*workflow.Workflow[int, int], *workflow.Workflow[int, int]) {
	app := func(ctx context.Context, name string) {
		_, own := spans.Tracer("app").Start(ctx, name)
		own.End()
	}
	ship := workflow.Define("ship", func(ctx context.Context, _ int) (int, error) {
		app(ctx, "app ship")
		return 1, nil
	})
	return workflow.Define("order", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "charge", func(ctx context.Context) (int, error) {
			app(ctx, "app charge")
			return 1, nil
		})
		if err != nil {
			return 0, err
		}
		_, err = workflow.Do(ctx, "book", func(ctx context.Context) (int, error) {
			hold(ctx)
			if workflow.Attempt(ctx) == 1 {
				return 0, &workflow.Error{Code: "full", Message: "no room"}
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Millisecond}))
		if err != nil {
			return 0, err
		}
		if _, err := arrived.Wait(ctx, time.Hour); err != nil {
			return 0, err
		}
		return workflow.Call(ctx, "ship", ship, 1)
	}), ship
}

// printed exports spans as lines of JSON.
type printed struct{ mu sync.Mutex }

func (p *printed) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range spans {
		line, err := json.Marshal(spanOf(s))
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

func (p *printed) Shutdown(context.Context) error { return nil }

// victim is another process, which executes orders until it is killed inside the second step.
func victim(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	spans := provider(new(printed))
	svc, err := newService(db, spans)
	if err != nil {
		return err
	}
	toBook, _ := order(spans, func(ctx context.Context) {
		fmt.Println("inside")
		<-ctx.Done()
	})
	svc.Register(toBook)
	return svc.Work(context.Background())
}

// One trace leads from the request that starts a run through a process that is killed in a step, another that goes on, a wait and a called
// run to the end. Each attempt that was executed has one span, and none that is replayed.
func TestTraceOverAKill(t *testing.T) {
	t.Parallel()
	pg := pgtest.New(t)
	db := pg.Open(t, pgtest.PGX)
	memory := tracetest.NewInMemoryExporter()
	spans := provider(memory)
	toBook, ship := order(spans, func(context.Context) {})
	starter, err := newService(db, spans)
	kit.Must(t, err)
	defer starter.Close()

	doomed := kit.Spawn(t, pg.URL())
	ctx, request := spans.Tracer("app").Start(t.Context(), "POST /orders")
	handle, err := toBook.Start(ctx, starter, 1)
	kit.Must(t, err)
	request.End()
	var before []span // of the process that is killed
	for inside := false; !inside || len(before) < 2; {
		if line := doomed.Line(); line == "inside" {
			inside = true
		} else {
			var s span
			kit.Must(t, json.Unmarshal([]byte(line), &s))
			before = append(before, s)
		}
	}
	doomed.Kill()

	heir, err := newService(db, spans)
	kit.Must(t, err)
	defer heir.Close()
	heir.Register(toBook, ship)
	kit.Work(t, heir)
	kit.Until(t, "the wait", func() bool {
		run, err := heir.GetRun(t.Context(), handle.RunID())
		kit.Must(t, err)
		return run.Status == workflow.RunSuspended && run.SuspendedFor == workflow.SuspendedForSignal
	})
	kit.Must(t, arrived.Send(t.Context(), heir, handle.RunID(), 1))
	_, err = handle.Result(t.Context())
	kit.Must(t, err)
	kit.Must(t, heir.Close()) // which waits until the observer has been told all
	after := ended(memory)

	all := append(slices.Clone(before), after...)
	byID := make(map[string]span)
	for _, s := range all {
		byID[s.SpanID] = s
		if want := request.SpanContext().TraceID().String(); s.TraceID != want {
			t.Errorf("%+v is of another trace than %s", s, want)
		}
	}
	lines := func(spans []span) (lines []string) {
		for _, s := range spans {
			parent := byID[s.ParentID].Name
			if parent == "" && s.Name != "POST /orders" { // that of a process that was killed in it
				parent = "?"
			}
			line := fmt.Sprintf("%s < %s: %s%s", s.Name, parent, s.Outcome, s.Error)
			if s.Attempt > 0 {
				line += fmt.Sprint(" ", s.Attempt)
			}
			if line != "run order < POST /orders: parked" { // how often depends on how fast the called run is
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		return lines
	}
	if diff := cmp.Diff([]string{"app charge < step charge: ", "step charge < ?: succeeded 1"}, lines(before)); diff != "" {
		t.Errorf("before the kill (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"POST /orders < : ",
		"app ship < run ship: ",
		"run order < POST /orders: completed",
		"run ship < run order: completed",
		"step book < run order: retriedno room 1",
		"step book < run order: succeeded 2",
	}, lines(after)); diff != "" {
		t.Errorf("after it (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(after, func(s span) bool { return s.Name == "run order" && s.Outcome == "parked" }) {
		t.Errorf("the park has no span: %+v", after)
	}
}

func ended(memory *tracetest.InMemoryExporter) (spans []span) {
	for _, s := range memory.GetSpans().Snapshots() {
		spans = append(spans, spanOf(s))
	}
	return spans
}

// A run that nothing traced has started begins a trace of its own, which all its spans are of; sampling is decided there.
func TestTraceOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sampler sdk.Sampler
		want    []string
	}{
		"sampled": {sdk.AlwaysSample(), []string{"run nightly", "start nightly", "step look"}},
		"dropped": {sdk.ParentBased(sdk.NeverSample()), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t).Open(t, pgtest.PGX)
			memory := tracetest.NewInMemoryExporter()
			spans := sdk.NewTracerProvider(sdk.WithSyncer(memory), sdk.WithSampler(test.sampler))
			svc, err := newService(db, spans)
			kit.Must(t, err)
			defer svc.Close()
			valid := make(chan trace.SpanContext, 100)
			nightly := workflow.Define("nightly", func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "look", func(ctx context.Context) (int, error) {
					valid <- trace.SpanContextFromContext(ctx)
					return 1, nil
				})
			})
			svc.Register(nightly)
			kit.Work(t, svc)
			kit.Must(t, nightly.SetSchedule(t.Context(), svc, workflow.Schedule{Name: "nightly", Every: time.Second}, 1))
			inside := kit.Receive(t, "the step", valid)
			kit.Must(t, svc.DeleteSchedule(t.Context(), "nightly"))
			page, err := svc.ListRuns(t.Context(), workflow.RunFilter{})
			kit.Must(t, err)
			for _, run := range page.Runs {
				_, err = svc.AwaitRun(t.Context(), run.ID)
				kit.Must(t, err)
			}
			kit.Must(t, svc.Close())
			var names []string
			for _, s := range ended(memory) {
				if s.TraceID == inside.TraceID().String() {
					names = append(names, s.Name)
				}
			}
			slices.Sort(names)
			if diff := cmp.Diff(test.want, names); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
		})
	}
}
