package workflow_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What children do, by name.
var children = map[string]func() error{"worker": workerChild}

const testLease = time.Second

// workerChild executes runs of the workflow "two" until it is killed. It says when a run is inside its second step.
func workerChild() error {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	svc, err := workflow.New(workflow.Config{DB: db, Lease: testLease})
	if err != nil {
		return err
	}
	svc.Register(twoSteps(db, func(ctx context.Context) {
		fmt.Println("inside")
		<-ctx.Done() // a worker that lost its run comes out here
	}, func(err error) {
		fmt.Println("refused:", errors.Is(err, workflow.ErrRunLost))
	}))
	return svc.Work(context.Background())
}

// twoSteps has a step that leaves a row in effects, and one that leaves another after hold; told gets what became of its
// record.
func twoSteps(db *sql.DB, hold func(context.Context), told func(error)) *workflow.Workflow[string, string] {
	effect := func(ctx context.Context, step string) (string, error) {
		who := strconv.Itoa(os.Getpid())
		_, err := db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO effects VALUES ($1, $2, $3)", workflow.RunID(ctx), step, who)
		return who, err
	}
	return workflow.Define("two", func(ctx context.Context, in string) (string, error) {
		first, err := workflow.Do(ctx, "first", func(ctx context.Context) (string, error) {
			return effect(ctx, "first")
		})
		if err != nil {
			return "", err
		}
		second, err := workflow.Do(ctx, "second", func(ctx context.Context) (string, error) {
			hold(ctx)
			return effect(ctx, "second")
		})
		told(err)
		if err != nil {
			return "", err
		}
		return in + ": " + first + " then " + second, nil
	})
}

// A child is a worker process.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func spawn(t *testing.T, name string, db *pgtest.Database) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, "DATABASE_URL="+db.URL())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		c.signal(syscall.SIGKILL)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return c
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

// says waits for a line of the child's.
func (c *child) says(want string) {
	c.t.Helper()
	if !c.lines.Scan() || c.lines.Text() != want {
		c.t.Fatalf("child said %q, want %q", c.lines.Text(), want)
	}
}
