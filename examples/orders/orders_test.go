package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// These tests run the real programs, as processes.

// asProgram makes the test binary the program itself.
const asProgram = "ORDERS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the program on a database. Its output is there once it has ended.
func start(t *testing.T, url string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	t.Cleanup(cancel)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "DATABASE_URL="+url)
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// verify compares the database with what orders.csv must come to.
func verify(t *testing.T, db *sql.DB) {
	t.Helper()
	got := make(map[string]int)
	rows, err := db.QueryContext(t.Context(), `
		SELECT 'run ' || status || coalesce(': ' || (error ->> 'code'), ''), count(*)
		FROM example_workflows.workflow_runs GROUP BY 1
		UNION ALL SELECT 'steps succeeded', count(*) FROM example_workflows.workflow_steps WHERE status = 'succeeded'
		UNION ALL SELECT 'orders', count(DISTINCT run_id) FROM example_shop.orders
		UNION ALL SELECT 'reservations', count(*) FROM example_shop.reservations
		UNION ALL SELECT 'charges', count(*) FROM example_shop.payments
		UNION ALL SELECT 'confirmations', count(*) FROM example_shop.confirmations
		UNION ALL SELECT 'tenths of the runs that did not park', count(*) / 48 -- on a busy machine what some wait for is there already
		    FROM example_workflows.workflow_runs WHERE status = 'completed' AND epoch < 3
		UNION ALL SELECT 'cents charged but not ordered',
		    (SELECT sum(cents) FROM example_shop.payments) - (SELECT sum(cents) FROM example_shop.orders)
		UNION ALL SELECT 'pieces gone but not reserved',
		    (SELECT sum(delivered - stock) FROM example_shop.articles) - (SELECT sum(quantity) FROM example_shop.reservations)`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var what string
		var n int
		if err := rows.Scan(&what, &n); err != nil {
			t.Fatal(err)
		}
		got[what] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"run completed":              475,
		"run failed: " + badQuantity: 5, "run failed: " + brokenLine: 5, "run failed: " + unknownArticle: 5,
		"run failed: " + duplicateOrder: 4, "run failed: " + outOfStock: 1, "run failed: " + cardDeclined: 5,
		// Duplicates and the one out of stock were validated; what was declined was reserved, cooled off and released as well.
		"steps succeeded": 475*5 + 4 + 1 + 5*4,
		"orders":          475, "reservations": 475, "charges": 475, "confirmations": 475,
		"tenths of the runs that did not park": 0, "cents charged but not ordered": 0, "pieces gone but not reserved": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestKilled runs the demo: kill -9 halfway, start again.
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
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+database.URL())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		"Killed (SIGKILL)",
		"line 138: the card of Amélie García was declined",
		"line 212: order 1017 was already placed by line 17 of orders.csv",
		`line 490: unknown article "TÉA-12"`,
		"orders completed        475",
		"steps that ran twice    0 ",
		"attempts that failed    ",
		"stock ledger balanced   yes",
		"The crash lost nothing",
	} {
		if !strings.Contains(string(out), line) {
			t.Errorf("the output lacks %q", line)
		}
	}
	verify(t, database.Open(t, pgtest.PQ))
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// TestStopped asks the program to stop halfway; then two of them share the rest.
func TestStopped(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	db := database.Open(t, pgtest.PQ)

	first, out := start(t, database.URL(), "orders.csv")
	waitFor(t, db, `SELECT count(*) >= 150 FROM example_workflows.workflow_runs WHERE status = 'completed'`)
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil || !strings.Contains(out.String(), "orders: stopped") {
		t.Fatalf("got %v and output\n%s", err, out)
	}
	var held int
	if err := db.QueryRowContext(t.Context(),
		`SELECT count(*) FROM example_workflows.workflow_runs WHERE owner IS NOT NULL`).Scan(&held); err != nil || held > 0 {
		t.Errorf("%d runs were not handed back (%v)", held, err)
	}

	var both sync.WaitGroup
	for range 2 {
		cmd, out := start(t, database.URL(), "orders.csv")
		both.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	both.Wait()
	verify(t, db)
}

// waitFor waits until a query returns true; until then its tables need not exist.
func waitFor(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	kit.Until(t, query, func() (done bool) {
		err := db.QueryRowContext(t.Context(), query).Scan(&done)
		return done && err == nil
	})
}

// TestMistakes: what a user may get wrong is answered with how to put it right.
func TestMistakes(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	nobody := "postgres://nobody@127.0.0.1:1/none?sslmode=disable"
	changed := filepath.Join(t.TempDir(), "orders.csv")
	write := func(line string) {
		if err := os.WriteFile(changed, []byte(header+"\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1,Zoë,MUG-01,1")
	if cmd, out := start(t, database.URL(), changed); cmd.Wait() != nil {
		t.Fatal(out)
	}
	write("1,Zoë,MUG-01,2")

	tests := map[string]struct {
		url  string
		args []string
		says string
	}{
		"no file named": {database.URL(), nil, "name one CSV file"},
		"no such file":  {database.URL(), []string{"nothing.csv"}, "nothing.csv: no such file"},
		"no URL":        {"", []string{"orders.csv"}, "DATABASE_URL is not set"},
		"broken URL":    {"postgres//me:secret@h/db", []string{"orders.csv"}, "DATABASE_URL cannot be read"},
		"no database":   {nobody, []string{"orders.csv"}, "Is the server running"},
		"file changed":  {database.URL(), []string{changed}, "line 2 of orders.csv is not what it was"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd, out := start(t, test.url, test.args...)
			if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), test.says) {
				t.Errorf("got %v and output\n%s", err, out)
			}
			if strings.Contains(out.String(), "secret") {
				t.Errorf("a password is shown:\n%s", out)
			}
		})
	}
}
