package otelworkflow_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m, victim) }
