// Package store_test holds the library to its word on a real PostgreSQL: through the root package, from outside, by
// every driver and mode that is supported, directly and through PgBouncer.
//
// make test runs everything by one access and a smoke test by each; make test-all runs everything by each.
package store_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m, child) }
