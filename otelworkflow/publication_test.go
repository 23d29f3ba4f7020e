package otelworkflow_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whoever fetches the module gets by with what it says of itself.
func TestModuleAsPublished(t *testing.T) {
	t.Parallel()
	kit.StandsAlone(t, "otelworkflow")
}
