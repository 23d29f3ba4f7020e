package workflow_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A child is this test binary started again as a process of its own, to be killed or frozen: see [spawn].
const childEnv = "WORKFLOW_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
