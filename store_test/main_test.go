// Package store_test holds the library to its word on a real PostgreSQL: through the root package, from outside, by
// every driver and mode that is supported, directly and through PgBouncer.
//
// make test runs everything by one access and a smoke test by each; make test-all runs everything by each.
package store_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childVariable makes this program one of the other processes of a test: see startChildren.
const childVariable = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
