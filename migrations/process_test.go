package migrations_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

const processes = 16

// taskVariable carries a task to the re-executed test binary, see TestMain.
const taskVariable = "MIGRATIONS_TEST_TASK"

type task struct{ Driver, URL string }

// Processes that start together on an empty database all succeed, and each migration is applied once.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			database := pgtest.Empty(t) // not parallel: sixteen processes are enough at a time
			start := startChildren(t, task{access.Driver, database.AccessURL(t, access)})
			start()
			db := database.Open(t, pgtest.PQ)
			wantVersions(t, db, schema+".workflow_migrations", allVersions())
			if got := dumpTables(t, db, schema) + "\n"; got != goldenSchema(t) {
				t.Errorf("schema:\n%s", got)
			}
		})
	}
}

// startChildren starts the processes and returns a function that lets all of them go at once and waits for them.
func startChildren(t *testing.T, todo task) (start func()) {
	t.Helper()
	text, err := json.Marshal(todo)
	if err != nil {
		t.Fatal(err)
	}
	gate, open, err := os.Pipe() // its end of file is the signal
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	var running sync.WaitGroup
	for range processes {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
		cmd.Stdin = gate
		var problems bytes.Buffer
		cmd.Stderr = &problems
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := ready.Read(make([]byte, 1)); err != nil {
			t.Errorf("child: %v", err)
		}
		running.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("child: %v: %s", err, problems.Bytes())
			}
		})
	}
	return func() {
		_ = open.Close()
		running.Wait()
	}
}

// child is what such a process does: it gets ready, waits for the others and migrates.
func child(text string) error {
	var todo task
	if err := json.Unmarshal([]byte(text), &todo); err != nil {
		return err
	}
	db, err := sql.Open(todo.Driver, todo.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := os.Stdout.WriteString("."); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	return migrations.Up(ctx, db, schema)
}
