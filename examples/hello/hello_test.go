package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// These tests run the real program, as a process.

// asProgram makes the test binary the program itself.
const asProgram = "HELLO_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func hello(t *testing.T, database *pgtest.Database) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "DATABASE_URL="+database.URL())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestHello(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	out, err := hello(t, database)
	if want := regexp.MustCompile(`^payment \w{8} for order 1 in parcel 7\n$`); err != nil || !want.MatchString(out) {
		t.Errorf("printed %q, %v; want %s", out, err, want)
	}
	var order string
	err = database.Open(t, pgtest.PQ).QueryRow("SELECT payment || ' in ' || parcel FROM hello_orders").Scan(&order)
	if err != nil || order+"\n" != out {
		t.Errorf("the order has %q, %v; want what was printed, %q", order, err, out)
	}
}

// Nobody waits for a result that nobody works for.
func TestHelloStopsWhenItCannotWork(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t).Role(t,
		"GRANT CREATE ON SCHEMA public TO {role}",
		"GRANT USAGE ON SCHEMA workflows TO {role}",
		"GRANT SELECT ON ALL TABLES IN SCHEMA workflows TO {role}",
		"GRANT INSERT, UPDATE ON workflows.workflow_runs, workflows.workflow_steps, workflows.workflow_signals TO {role}") // and not on workflow_workers
	out, err := hello(t, database)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "permission denied for table workflow_workers") {
		t.Errorf("ended with %v and output %q, want the reason why it cannot work", err, out)
	}
}

// The README shows this program to the letter.
func TestReadmeShowsThisProgram(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := bytes.Cut(readme, []byte("```go\n"))
	shown, _, _ = bytes.Cut(shown, []byte("```\n"))
	if !bytes.Equal(shown, program) {
		t.Error("the README's first Go program is not examples/hello/main.go")
	}
}
