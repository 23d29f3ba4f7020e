package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// These tests run the real programs, as processes.

// asProgram makes the test binary the program itself.
const asProgram = "REFUNDS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestKilled runs the demo: kill -9 while refunds wait, start again.
func TestKilled(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	defer cancel()
	demo := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", demo, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, demo)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+database.URL())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{
		"Killed (SIGKILL)",
		`refund-1001  Zoë, 9.00 €, "arrived broken": refunded`,
		`refund-1002  Juan, 39.00 €, "changed my mind": refused`,
		`refund-1008  Kofi, 1290.00 €, "too large": expired`,
		"mallory  yes  was not asked",
		"yes  this counts",
		"no   too late",
		"failed, nobody is called unknown",
		"refunds that are expired 2\n",
		"refunds that are refused 2\n",
		"refunds that are refunded 4\n",
		"decisions that count     6\n",
		"signals of the bank      4\n",
		"notifications completed  23\n",
		"notifications failed     1\n",
		"The crash lost nothing",
	} {
		if !strings.Contains(string(out), text) {
			t.Errorf("the output lacks %q", text)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// TestMistakes: what a user may get wrong is answered with how to put it right.
func TestMistakes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ url, says string }{
		"no URL":      {"", "DATABASE_URL is not set"},
		"broken URL":  {"postgres//me:secret@h/db", "DATABASE_URL cannot be read"},
		"no database": {"postgres://nobody@127.0.0.1:1/none?sslmode=disable", "Is the server running"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "DATABASE_URL="+test.url)
			out, err := cmd.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte(test.says)) {
				t.Errorf("got %v and output\n%s", err, out)
			}
			if bytes.Contains(out, []byte("secret")) {
				t.Errorf("a password is shown:\n%s", out)
			}
		})
	}
}

// The shop's migrations and the library's live side by side, and many processes may start at the same time.
func TestMigrations(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	svc, err := workflow.New(workflow.Config{DB: db, Schema: "example_refunds_workflows"})
	kit.Must(t, err)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := migrate(t.Context(), db); err != nil {
				t.Error(err)
			}
			if err := svc.Init(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// goose's own first row says that the table was made.
	versions := kit.Column[int](t, db, "SELECT version_id FROM example_refunds.goose_db_version ORDER BY id")
	if diff := cmp.Diff([]int{0, 1, 2}, versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}

	provider, err := newProvider(db)
	kit.Must(t, err)
	_, err = provider.DownTo(t.Context(), 0)
	kit.Must(t, err)
	const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
	if left := kit.One[int](t, db, tables, "example_refunds"); left != 1 {
		t.Errorf("after Down the shop has %d tables, want goose's alone", left)
	}
	if left := kit.One[int](t, db, tables, "example_refunds_workflows"); left < 4 {
		t.Errorf("the shop's Down left the library %d tables", left)
	}
	kit.Must(t, migrate(t.Context(), db))
}
