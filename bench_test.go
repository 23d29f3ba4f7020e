//go:build unix

package workflow_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// BenchmarkRun is a whole run of ten steps with results of 100 bytes, started and awaited in one process, by how many there
// are at a time. The server of the tests does not wait for the disk.
func BenchmarkRun(b *testing.B) {
	result := strings.Repeat("x", 100)
	tenSteps := workflow.Define("ten steps", func(ctx context.Context, _ int) (int, error) {
		for range 10 {
			if _, err := workflow.Do(ctx, "step", func(context.Context) (string, error) { return result, nil }); err != nil {
				return 0, err
			}
		}
		return 10, nil
	})
	benchmarkRuns(b, tenSteps)
}

// BenchmarkCall is a parent that calls one child of one step: does it park for that, or wait in its slot?
func BenchmarkCall(b *testing.B) {
	child := workflow.DefineStep("child", func(_ context.Context, n int) (int, error) { return n, nil })
	parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) { return workflow.Call(ctx, "call", child, n) })
	benchmarkRuns(b, parent, child)
}

// benchmarkRuns has runs of a workflow started and awaited in one process, so many at a time.
func benchmarkRuns(b *testing.B, measured *workflow.Workflow[int, int], others ...workflow.Definition) {
	for _, concurrent := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprintf("concurrent=%d", concurrent), func(b *testing.B) {
			db := pgtest.New(b).Open(b, pgtest.PGX)
			db.SetMaxIdleConns(16)
			svc, err := workflow.New(workflow.Config{DB: db, Concurrency: 2 * concurrent})
			if err != nil {
				b.Fatal(err)
			}
			svc.Register(append(others, measured)...)
			ctx, stop := context.WithCancel(b.Context())
			worked := make(chan error, 1)
			go func() { worked <- svc.Work(ctx) }()

			todo := make(chan bool)
			var all sync.WaitGroup
			for range concurrent {
				all.Go(func() {
					for range todo {
						handle, err := measured.Start(ctx, svc, 1)
						if err == nil {
							_, err = handle.Result(ctx)
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				todo <- true
			}
			close(todo)
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
			stop()
			if err := <-worked; err != nil {
				b.Error(err)
			}
			if err := svc.Close(); err != nil {
				b.Error(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
		})
	}
}

// cpuTime is what this process has used, which a busy machine does not change as it does the time that passes.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
