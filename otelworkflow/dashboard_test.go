package otelworkflow_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/otelworkflow"
)

// everything is a schema with something of each kind.
type everything struct{}

func (everything) Stats(context.Context) (workflow.Stats, error) {
	return workflow.Stats{Workers: 1, Lag: time.Second}, nil
}

func (everything) ListQueues(context.Context) ([]workflow.QueueState, error) {
	return []workflow.QueueState{{Queue: workflow.Queue{Name: "q", MaxRunning: 1}}}, nil
}

// exported returns what Prometheus gets: the labels of each series, by its name, and the values of those that say what has become of
// something.
func exported(t *testing.T) (labels map[string][]string, values map[string]bool) {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	kit.Must(t, err)
	o, err := otelworkflow.New(otelworkflow.Config{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	kit.Must(t, err)
	_, err = o.Watch(everything{})
	kit.Must(t, err)
	for _, kind := range []workflow.EventKind{
		workflow.EventRunStarted, workflow.EventRunClaimed, workflow.EventRunTakenOver, workflow.EventRunCompleted, workflow.EventRunFailed,
		workflow.EventRunBlocked, workflow.EventRunParked, workflow.EventRunHandedBack, workflow.EventRunLost,
	} {
		o.Observe(workflow.Event{Kind: kind, Workflow: "w", Queue: "q"})
	}
	for _, kind := range []workflow.EventKind{workflow.EventStepSucceeded, workflow.EventStepFailed, workflow.EventStepRetried} {
		o.Observe(workflow.Event{Kind: kind, Workflow: "w", Queue: "q", Step: "s"})
	}
	families, err := registry.Gather()
	kit.Must(t, err)
	labels, values = make(map[string][]string), make(map[string]bool)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			names := []string{family.GetName()}
			if m.GetHistogram() != nil {
				names = []string{family.GetName() + "_bucket", family.GetName() + "_sum", family.GetName() + "_count"}
			}
			for _, label := range m.GetLabel() {
				values[label.GetValue()] = true
				for _, name := range names {
					labels[name] = append(labels[name], label.GetName())
				}
			}
			for _, name := range names {
				labels[name] = append(labels[name], "le")
			}
		}
	}
	return labels, values
}

var (
	series = regexp.MustCompile(`(\w+)(\{[^}]*\})?(?:\[\$__rate_interval\])?\)`) // each is the argument of a function
	label  = regexp.MustCompile(`(\w+)\s*=~?\s*"([^"]*)"`)
	by     = regexp.MustCompile(`by \(([^)]*)\)`)
	word   = regexp.MustCompile(`\w+`)
)

// Every query of the dashboard asks for series, labels and values that there are, by the names that Prometheus gets, and everything that is
// measured is shown.
func TestDashboardShowsWhatIsMeasured(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("grafana/sqlworkflow.json")
	kit.Must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Type    string `json:"type"`
			Targets []struct {
				Expr   string `json:"expr"`
				Legend string `json:"legendFormat"`
			} `json:"targets"`
		} `json:"panels"`
		Templating struct {
			List []struct {
				Query string `json:"query"`
			} `json:"list"`
		} `json:"templating"`
	}
	kit.Must(t, json.Unmarshal(text, &dashboard))
	labels, values := exported(t)
	shown := make(map[string]bool)
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			found := series.FindAllStringSubmatch(by.ReplaceAllString(target.Expr, ""), -1)
			if len(found) == 0 {
				t.Errorf("%s: no series in %s", panel.Title, target.Expr)
			}
			for _, of := range found {
				name := of[1]
				if labels[name] == nil {
					t.Errorf("%s: there is no series %q", panel.Title, name)
				}
				shown[name] = true
				var asked []string
				for _, match := range label.FindAllStringSubmatch(of[2], -1) {
					asked = append(asked, match[1])
					for _, value := range word.FindAllString(match[2], -1) {
						if !values[value] && value != "workflow" { // the variable
							t.Errorf("%s: no label has the value %q", panel.Title, value)
						}
					}
				}
				for _, match := range by.FindAllStringSubmatch(target.Expr, -1) {
					asked = append(asked, word.FindAllString(match[1], -1)...)
				}
				for _, name := range asked {
					if !slices.Contains(labels[of[1]], name) {
						t.Errorf("%s: %s has no label %q", panel.Title, of[1], name)
					}
				}
			}
		}
	}
	var measured []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "target_info" && !shown[name] {
			measured = append(measured, name)
		}
	}
	want := []string{ // what histograms have besides
		"sqlworkflow_run_duration_seconds_bucket", "sqlworkflow_run_duration_seconds_sum", "sqlworkflow_run_wait_duration_seconds_count",
		"sqlworkflow_run_wait_duration_seconds_sum", "sqlworkflow_step_duration_seconds_sum",
	}
	if diff := cmp.Diff(want, measured); diff != "" {
		t.Errorf("what no panel shows (-want +got):\n%s", diff)
	}
	if query := dashboard.Templating.List[1].Query; query != "label_values(sqlworkflow_run_started_total, sqlworkflow_workflow_name)" ||
		!slices.Contains(labels["sqlworkflow_run_started_total"], "sqlworkflow_workflow_name") {
		t.Errorf("the workflows are asked for by %s", query)
	}
}
