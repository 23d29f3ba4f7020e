package workflow_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What was sent to a run and taken by no step is named in the log when the run ends, whether it ever waited for that or not.
func TestSignalsThatAreLeftBehindAreNamed(t *testing.T) {
	t.Parallel()
	left, taken := workflow.DefineSignal[int]("left"), workflow.DefineSignal[int]("taken")
	for name, test := range map[string]struct {
		waits bool
		sends []*workflow.Signal[int]
		want  string // names in the log; "": no line
	}{
		"never waited for":    {false, []*workflow.Signal[int]{left}, "[left]"},
		"one too many":        {true, []*workflow.Signal[int]{taken, taken, left}, "[left taken]"},
		"all were taken":      {true, []*workflow.Signal[int]{taken}, ""},
		"nothing was sent":    {false, nil, ""},
		"taken, and one left": {true, []*workflow.Signal[int]{left, taken}, "[left]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			log := b.journaled()
			kit.Work(t, b.svc)
			handle, _, err := run(b, "forgetful", func(ctx context.Context, _ int) (int, error) {
				_, err := workflow.Do(ctx, "send", func(ctx context.Context) (int, error) {
					for _, signal := range test.sends {
						if err := signal.Send(ctx, b.svc, workflow.RunID(ctx), 1); err != nil {
							return 0, err
						}
					}
					return 0, nil
				})
				if err == nil && test.waits {
					_, err = taken.Wait(ctx, 0)
				}
				return 0, err
			})
			kit.Must(t, err)
			line := func() (names string, told bool) {
				for _, e := range log.all(slog.LevelWarn, handle.RunID()) {
					if strings.Contains(e.message, "signals that no step took") {
						return e.attrs["signals"], true
					}
				}
				return "", false
			}
			if test.want != "" {
				kit.Until(t, "the log names them", func() bool { _, told := line(); return told })
			}
			kit.Until(t, "no run is in flight", func() bool { return inFlight(t, b.svc) == 0 })
			if names, _ := line(); names != test.want {
				t.Errorf("the log names %q, want %q", names, test.want)
			}
		})
	}
}
