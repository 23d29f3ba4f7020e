package otelworkflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/otelworkflow"
)

// An application that traces, and has its metrics read by Prometheus.
func Example() {
	db, closeDatabase := openDatabase() // the application's own pool
	defer closeDatabase()

	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	must(err)
	meters, traces := metric.NewMeterProvider(metric.WithReader(reader)), sdk.NewTracerProvider()
	observer, err := otelworkflow.New(otelworkflow.Config{TracerProvider: traces, MeterProvider: meters})
	must(err)
	svc, err := workflow.New(workflow.Config{DB: db, Observer: observer})
	must(err)
	stop, err := observer.Watch(svc)
	must(err)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{}) // to be served as /metrics

	greet := workflow.Define("greet", func(ctx context.Context, name string) (string, error) {
		return workflow.Do(ctx, "compose", func(context.Context) (string, error) { return "Hello, " + name, nil })
	})
	svc.Register(greet)
	working, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- svc.Work(working) }()
	handle, err := greet.Start(working, svc, "Zoë")
	must(err)
	_, err = handle.Result(working)
	must(err)

	end()
	must(<-done)
	must(stop())
	must(svc.Close())                           // which tells the observer what it has not been told yet,
	must(traces.Shutdown(context.Background())) // and only then who exports its spans

	response := httptest.NewRecorder()
	metrics.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text, err := io.ReadAll(response.Body)
	must(err)
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, "{"); name == "sqlworkflow_run_started_total" || name == "sqlworkflow_step_duration_seconds_count" {
			fmt.Print(name, " ", line[strings.LastIndexByte(line, ' ')+1:])
		}
	}
	// Output:
	// sqlworkflow_run_started_total 1
	// sqlworkflow_step_duration_seconds_count 1
}

func openDatabase() (*sql.DB, func()) {
	tb, end := pgtest.Example()
	return pgtest.New(tb).Open(tb, pgtest.PGX), end
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
