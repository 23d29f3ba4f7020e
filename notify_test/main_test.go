// Package notify_test holds what processes tell each other to its promises, on a real PostgreSQL: that a hint arrives in
// milliseconds, that nobody waits for one, and that nothing is lost with it.
package notify_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
