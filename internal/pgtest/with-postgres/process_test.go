//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// asTest makes TestVictim in a re-executed test binary do what it says.
const asTest = "PGTEST_TEST_VICTIM"

// TestVictim is a test that uses pgtest without the wrapper and does not come to a good end.
func TestVictim(t *testing.T) {
	end := os.Getenv(asTest)
	if end == "" {
		t.Skip("run by TestWithoutWrapper")
	}
	d := pgtest.New(t)
	pooled := pgtest.PQBinary
	pooled.Pooled = true
	d.Open(t, pooled)
	fmt.Println(d.URL())
	switch end {
	case "return":
	case "panic":
		panic("as told")
	case "exit":
		os.Exit(3)
	default:
		time.Sleep(time.Hour)
	}
}

func TestWithoutWrapper(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, test := range []struct {
		name string
		args []string
		end  func(*victim)
	}{
		{"return", nil, nil},
		{"panic", nil, nil},
		{"exit", nil, nil},
		{"timeout", []string{"-test.timeout=4s"}, nil},
		{"SIGINT", nil, sending(syscall.SIGINT)},
		{"kill -9", nil, sending(syscall.SIGKILL)},
		{"kill -9 of its group", nil, func(v *victim) { _ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := spawn(t, []string{asTest + "=" + test.name, "PGTEST_SERVER=local"}, append(test.args, "-test.run=^TestVictim$")...)
			url := v.line()
			if test.name == "timeout" && url == "" {
				t.Log("the timeout came while the server started")
			} else if !strings.HasPrefix(url, "postgres://") {
				v.wait()
				t.Fatalf("the test did not start: %q; stderr:\n%s", url, v.stderr)
			}
			if test.end != nil {
				test.end(v)
			}
			v.wait()
			v.awaitClear()
		})
	}
}
