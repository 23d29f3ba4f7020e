// Command demo shows that waiting survives a crash: it starts the program examples/refunds, kills it halfway with SIGKILL, while
// refunds wait for managers, for the bank and for their notifications, starts it again, and then asks the database whether anything
// was lost or done twice.
//
//	make demo-refunds
//	DATABASE_URL=postgres://… go run ./examples/refunds/demo
//
// It begins by dropping the schemas example_refunds and example_refunds_workflows, so that it can be run again.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const program = "github.com/sqlworkflow/workflow/examples/refunds"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		return errors.New("DATABASE_URL is not set; `make demo-refunds` finds or starts a PostgreSQL and sets it")
	}
	connector, err := pq.NewConnector(url)
	if err != nil { // which may quote the password
		return errors.New("DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/database")
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.ExecContext(ctx, `DROP SCHEMA IF EXISTS example_refunds, example_refunds_workflows CASCADE`); err != nil {
		return fmt.Errorf("drop the schemas of an earlier demo: %w (is DATABASE_URL right?)", err)
	}

	dir, err := os.MkdirTemp("", "refunds-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "refunds")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}

	fmt.Println("Eight refunds wait for people, for the bank and for notifications. The process will be killed halfway.\n\n$ refunds")
	before, err := killHalfway(ctx, db, command(ctx, binary))
	if err != nil {
		return err
	}
	fmt.Printf("\nKilled (SIGKILL): %d refunds were over, %d waited for a manager, %d for the bank, %d for notifications.\n\n$ refunds\n",
		before.over, before.manager, before.bank, before.notify)
	if err := command(ctx, binary).Run(); err != nil {
		return fmt.Errorf("the second process: %w", err)
	}
	if err := verify(ctx, db); err != nil {
		return err
	}
	fmt.Println("\nThe crash lost nothing: nobody had to decide again, nobody was paid twice, and no message was sent twice.")
	return nil
}

// command is the program. It is asked to stop when ctx ends.
func command(ctx context.Context, binary string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

var errEarly = errors.New("the first process ended before it could be killed")

// killHalfway starts the program, kills it when some refunds are over and others wait, and returns how they stood then.
func killHalfway(ctx context.Context, db *sql.DB, cmd *exec.Cmd) (counts, error) {
	if err := cmd.Start(); err != nil {
		return counts{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case err := <-ended:
			return counts{}, errors.Join(errEarly, err)
		case <-ticks.C:
		}
		now, err := count(ctx, db)
		if err == nil && (now.over < 2 || now.bank == 0 && now.over < 4) {
			continue
		}
		if err := errors.Join(err, cmd.Process.Kill()); err != nil {
			return counts{}, err
		}
		if err := <-ended; err == nil {
			return counts{}, errEarly
		}
		return count(ctx, db)
	}
}

// counts are refunds, by what they wait for.
type counts struct{ over, manager, bank, notify int }

// An open wait is a step that is scheduled.
func count(ctx context.Context, db *sql.DB) (c counts, err error) {
	err = db.QueryRowContext(ctx, `
		SELECT count(*) FILTER (WHERE run.status = 'completed'),
		       count(*) FILTER (WHERE step.step_name = 'manager'),
		       count(*) FILTER (WHERE step.step_name = 'booked'),
		       count(*) FILTER (WHERE step.step_name = 'notify')
		FROM example_refunds_workflows.workflow_runs AS run
		LEFT JOIN example_refunds_workflows.workflow_steps AS step ON step.run_id = run.id AND step.status = 'scheduled'
		WHERE run.workflow = 'refund'`).Scan(&c.over, &c.manager, &c.bank, &c.notify)
	var problem *pq.Error
	if errors.As(err, &problem) && problem.Code.Name() == "undefined_table" { // the program has only just begun
		return counts{}, nil
	}
	return c, err
}
