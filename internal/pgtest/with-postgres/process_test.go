//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/internal/server"
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
	access := pgtest.PQBinary
	_, err := server.PoolerProgram()
	access.Pooled = err == nil
	d.Open(t, access)
	fmt.Println(d.URL())
	switch end {
	case "return":
	case "panic":
		panic("as told")
	case "exit":
		os.Exit(3)
	default:
		<-t.Context().Done() // until it is ended from outside
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

// TestMany is many tests that need a server.
func TestMany(t *testing.T) {
	if os.Getenv(asTest) == "" {
		t.Skip("run by TestReasonIsGivenOnce")
	}
	for range 20 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			pgtest.Empty(t)
		})
	}
}

func TestReasonIsGivenOnce(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMany$")
	cmd.Env = append(environment(), asTest+"=many", "PGTEST_BIN=/nowhere")
	out, err := cmd.CombinedOutput()
	if want := "pgtest: PGTEST_BIN=/nowhere: not available: no postgres and initdb there\n"; err == nil || string(out) != want {
		t.Errorf("got %v and output %q, want %q", err, out, want)
	}
}

func TestServerOfAnotherVersion(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMany$")
	cmd.Env = append(environment(), asTest+"=many", "PGTEST_SERVER=local", "PGTEST_VERSION=9")
	out, err := cmd.CombinedOutput()
	if want := "pgtest: PGTEST_VERSION=9, but this is PostgreSQL 1"; err == nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("got %v and output %q, want %q at its beginning", err, out, want)
	}
}
