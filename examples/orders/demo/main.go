// Command demo shows that work survives a crash: it starts the program examples/orders, kills it halfway with SIGKILL,
// starts it again, and then asks the database whether anything was lost or done twice.
//
//	make demo
//	DATABASE_URL=postgres://… go run ./examples/orders/demo
//
// It begins by dropping the schemas example_shop and example_workflows, so that it can be run again.
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
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	program = "github.com/sqlworkflow/workflow/examples/orders"
	orders  = "examples/orders/orders.csv"
)

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
	content, err := os.ReadFile(orders)
	if err != nil {
		return fmt.Errorf("%w (start the demo in the root of the repository)", err)
	}
	lines := strings.Count(string(content), "\n") - 1 // without the header

	url := os.Getenv("DATABASE_URL")
	if url == "" {
		return errors.New("DATABASE_URL is not set; `make demo` finds or starts a PostgreSQL and sets it")
	}
	connector, err := pq.NewConnector(url)
	if err != nil { // which may quote the password
		return errors.New("DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/database")
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.ExecContext(ctx, `DROP SCHEMA IF EXISTS example_shop, example_workflows CASCADE`); err != nil {
		return fmt.Errorf("drop the schemas of an earlier demo: %w (is DATABASE_URL right?)", err)
	}

	dir, err := os.MkdirTemp("", "orders-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "orders")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}

	fmt.Printf("%d orders, five durable steps each. The process will be killed halfway.\n\n$ orders %s\n", lines, orders)
	before, err := killHalfway(ctx, db, command(ctx, binary), lines)
	if err != nil {
		return err
	}
	fmt.Printf("\nKilled (SIGKILL): %d orders were completed, %d in progress, %d cooling off.\n\n$ orders %s\n",
		before.completed, before.running, before.parked, orders)
	if err := command(ctx, binary).Run(); err != nil {
		return fmt.Errorf("the second process: %w", err)
	}
	if err := verify(ctx, db, lines); err != nil {
		return err
	}
	fmt.Println("\nThe crash lost nothing, and no order was reserved, charged or confirmed twice.")
	return nil
}

// command is the program. It is asked to stop when ctx ends.
func command(ctx context.Context, binary string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, orders)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

type counts struct{ completed, running, parked int }

var errEarly = errors.New("the first process ended before it could be killed")

// killHalfway starts the program, kills it when half of the orders are completed, and returns how the runs stood then.
func killHalfway(ctx context.Context, db *sql.DB, cmd *exec.Cmd, lines int) (counts, error) {
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
		if err == nil && now.completed < lines/2 {
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

func count(ctx context.Context, db *sql.DB) (c counts, err error) {
	err = db.QueryRowContext(ctx, `
		SELECT count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'running'),
		       count(*) FILTER (WHERE status = 'suspended')
		FROM example_workflows.workflow_runs`).Scan(&c.completed, &c.running, &c.parked)
	var problem *pq.Error
	if errors.As(err, &problem) && problem.Code.Name() == "undefined_table" { // the program has only just begun
		return counts{}, nil
	}
	return c, err
}
