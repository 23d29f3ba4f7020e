package notify_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// BenchmarkWakeUp is how long it takes until a run that one service starts begins in another, and until the first one knows its
// result, on a system that is idle otherwise:
//
//	.bin/with-postgres -demo -- go test ./notify_test -run '^$' -bench WakeUp -benchtime 200x
func BenchmarkWakeUp(b *testing.B) {
	begun := make(chan time.Time, 1)
	w := workflow.Define("w", func(context.Context, int) (int, error) {
		begun <- time.Now()
		return 1, nil
	})
	for _, d := range drivers {
		for name, changes := range map[string][]func(*workflow.Config){
			"without":  {func(c *workflow.Config) { c.Notifier, c.PollInterval, c.Lease = nil, 0, 0 }},
			"notifier": {func(c *workflow.Config) { c.PollInterval, c.Lease = 0, 0 }},
		} {
			b.Run(d.access.Name+"/"+name, func(b *testing.B) {
				database := pgtest.New(b)
				worker, asks := d.start(b, database, changes...), d.start(b, database, changes...)
				worker.Register(w)
				kit.Work(b, worker)
				once := func() (begins, ends time.Duration) {
					started := time.Now()
					handle, err := w.Start(b.Context(), asks, 1)
					kit.Must(b, err)
					_, err = handle.Result(kit.Context(b))
					kit.Must(b, err)
					return (<-begun).Sub(started), time.Since(started)
				}
				for range 5 {
					once()
				}
				var begins, ends []time.Duration
				for b.Loop() {
					kit.Pause(b.Context(), 50*time.Millisecond) // idle
					toBegin, toEnd := once()
					begins, ends = append(begins, toBegin), append(ends, toEnd)
				}
				for what, took := range map[string][]time.Duration{"begin": begins, "result": ends} {
					slices.Sort(took)
					ms := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
					b.ReportMetric(ms(0.5), what+"-p50-ms")
					b.ReportMetric(ms(0.99), what+"-p99-ms")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
