package workflow

import (
	"context"
	"encoding/binary"
	"log/slog"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine/run"
)

// RunID returns the id of the run that ctx carries, "" outside a run.
func RunID(ctx context.Context) string { return run.RunID(ctx) }

// Attempt returns which attempt of a step ctx belongs to, from 1; 0 outside a step.
func Attempt(ctx context.Context) int {
	_, attempt := run.StepKey(ctx)
	return attempt
}

// keySpace is the namespace of idempotency keys. Providers remember keys for years: it never changes.
var keySpace = uuid.MustParse("6f3a1f0e-8c0b-5d57-9a43-2f6c1d9e7b10")

// IdempotencyKey returns a key for the step that ctx belongs to, for a provider that takes one: the same whenever the step
// is attempted, in whatever process, and another for every other step and run. It is a UUIDv5 (RFC 9562) of the
// length-prefixed run id and step key. Outside a step it is "".
func IdempotencyKey(ctx context.Context) string {
	key, _ := run.StepKey(ctx)
	if key == "" {
		return ""
	}
	return idempotencyKey(run.RunID(ctx), key)
}

func idempotencyKey(runID, stepKey string) string {
	var name []byte
	for _, part := range []string{runID, stepKey} {
		name = binary.BigEndian.AppendUint64(name, uint64(len(part)))
		name = append(name, part...)
	}
	return uuid.NewSHA1(keySpace, name).String()
}

// Logger returns a logger with the run's id and workflow, and with the step and attempt inside a step. In a workflow's
// function it is silent while recorded steps are replayed, so that a line is written once. Outside a run it is silent.
func Logger(ctx context.Context) *slog.Logger { return run.Logger(ctx) }
