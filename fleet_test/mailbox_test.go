package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A letter is the nth that was sent to a mailbox.
var letter = workflow.DefineSignal[int]("letter")

// lastLetter is the letter after which a mailbox is closed.
const lastLetter = -1

// mailbox takes letters in two branches, each until it has got a last one, and returns what each got. Many of its waits time out.
func mailbox() *workflow.Workflow[int, [][]int] {
	return workflow.Define("mailbox", func(ctx context.Context, _ int) ([][]int, error) {
		return workflow.Parallel(ctx, "side", []string{"left", "right"}, func(ctx context.Context, _ string) ([]int, error) {
			var got []int
			for n := 0; ; n++ {
				timeout := time.Duration(n%4) * 40 * time.Millisecond // 0: for ever
				switch value, err := letter.Wait(ctx, timeout); {
				case errors.Is(err, workflow.ErrTimeout):
				case err != nil:
					return nil, err
				case value == lastLetter:
					return got, nil
				default:
					got = append(got, value)
				}
			}
		})
	})
}

// Signals are sent while runs wait for them, in two branches each, time out, park and are claimed, and while their worker processes are
// killed: each signal is taken once, in the order in which they were sent, and no run waits for ever. In a limited queue too, where those
// that are woken wait for room, and those that wait make it.
func TestKilledProcessesLoseNoSignal(t *testing.T) {
	t.Parallel()
	t.Run("no queue", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		if f.loseNoSignal(sized(12, 30, 120), sized(20, 20, 100)) == 0 {
			t.Error("no wait timed out: the test shows nothing")
		}
	})
	t.Run("limited queue", func(t *testing.T) {
		t.Parallel()
		queue := workflow.Queue{Name: "mailboxes", MaxRunning: 3}
		f, _ := setupQueues(t, queue)
		f.loseNoSignal(sized(8, 20, 60), sized(10, 20, 50), workflow.WithQueue(queue.Name))
		f.checkClaims(queue)
	})
}

// loseNoSignal returns how many waits timed out.
func (f *fleet) loseNoSignal(runs, letters int, options ...workflow.StartOption) (timeouts int) {
	t := f.t
	t.Helper()
	svc := f.service(f.db, nil)
	w := mailbox() // executed elsewhere
	var handles []*workflow.Handle[[][]int]
	for n := range runs {
		handle, err := w.Start(t.Context(), svc, n, append(options, workflow.WithRunID(runID(n)))...)
		kit.Must(t, err)
		handles = append(handles, handle)
	}

	var over atomic.Bool
	var killing, sending sync.WaitGroup
	killed := 0
	killing.Go(func() {
		processes := []*process{f.spawn(job{Does: "mailbox"}), f.spawn(job{Does: "mailbox"})}
		for ; !over.Load(); killed++ {
			kit.Pause(t.Context(), 300*time.Millisecond+rand.N(500*time.Millisecond))
			i := rand.N(len(processes))
			processes[i].Kill()
			processes[i] = f.spawn(job{Does: "mailbox"})
		}
		for _, handle := range handles {
			_, err := handle.Result(kit.Context(t))
			kit.Must(t, err)
		}
		for _, p := range processes {
			p.Terminate()
		}
	})
	for n := range runs {
		sending.Go(func() { f.sendLetters(svc, runID(n), letters) })
	}
	sending.Wait()
	over.Store(true)
	killing.Wait()

	timeouts = f.count("SELECT count(*) FROM workflows.workflow_steps WHERE error ->> 'code' = 'timeout'")
	t.Logf("%d signals, %d time-outs, %d processes killed", runs*(letters+2), timeouts, killed)
	if killed == 0 {
		t.Error("no process was killed: the test shows nothing")
	}
	for n, handle := range handles {
		got, err := handle.Result(kit.Context(t))
		kit.Must(t, err)
		checkLetters(t, fmt.Sprintf("run %d", n), got, letters)
	}
	f.verify()
	return timeouts
}

// sendLetters sends letters, now and then twice, and at last two that close the mailbox. Those to the first run are sent when the one before
// was taken, however slow the machine is, so that some of its waits are in vain.
func (f *fleet) sendLetters(svc *workflow.Service, run string, letters int) {
	for n := range letters + 2 {
		value := n
		if n >= letters {
			value = lastLetter
		}
		for again := true; again; again = rand.N(4) == 0 {
			if err := letter.Send(f.t.Context(), svc, run, value, workflow.WithKey(strconv.Itoa(n))); err != nil {
				f.t.Errorf("letter %d of run %s: %v", n, run, err)
				return
			}
		}
		if run == runID(0) && value != lastLetter {
			kit.Until(f.t, "the letter was taken", func() bool {
				return f.count("SELECT count(*) FROM workflows.workflow_steps WHERE run_id = $1 AND signal_seq IS NOT NULL", run) > n
			})
		}
		kit.Pause(f.t.Context(), rand.N(120*time.Millisecond))
	}
}

// checkLetters compares what two branches got with what was sent: each letter once, and each branch in order.
func checkLetters(t *testing.T, run string, got [][]int, letters int) {
	t.Helper()
	var all []int
	for _, branch := range got {
		if !slices.IsSorted(branch) {
			t.Errorf("%s: out of order: %v", run, branch)
		}
		all = append(all, branch...)
	}
	slices.Sort(all)
	for n := range letters {
		if n >= len(all) || all[n] != n || len(all) != letters {
			t.Errorf("%s: got %d letters %v, want each of %d once", run, len(all), got, letters)
			return
		}
	}
}
