package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// jobVariable carries the job to the re-executed program and is how it knows that it is a supervisor.
const jobVariable = "PGTEST_SUPERVISE"

// closeTimeout bounds the wait for a supervisor that was asked to take its server down.
const closeTimeout = 45 * time.Second

// A job is what a supervisor starts: a PgBouncer in front of Upstream if that is set, else a PostgreSQL.
type job struct {
	Options
	Upstream string
	PoolMode string
}

// A report is the supervisor's one answer.
type report struct {
	URL, Source, Version string
	Notes                []string
	// Error is why there is no server, the empty string if there is one.
	Error string
	// None says that the error is ErrNone, and what was tried nevertheless.
	None bool
}

// A guard is the starting process's end of the supervisor.
type guard struct {
	cmd  *exec.Cmd
	line io.WriteCloser // its closing ends the supervisor; must stay reachable, for a finalizer would close it
}

// launch starts a supervisor for the job and waits for its report. It leaves no goroutine behind, so
// that the tests of a process that uses it can look for leaks of their own.
func launch(ctx context.Context, j job) (*guard, report, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	g, answer, err := spawn(j)
	if err != nil {
		return nil, report{}, fmt.Errorf("start supervisor: %w", err)
	}
	defer answer.Close()
	// An abandoned supervisor clears up and exits, which ends the read below.
	stop := context.AfterFunc(ctx, func() { g.line.Close() })

	var r report
	err = json.NewDecoder(answer).Decode(&r)
	inTime := stop()
	switch {
	case !inTime:
		err = fmt.Errorf("start server: %w", context.Cause(ctx))
	case err != nil:
		err = fmt.Errorf("start server: the supervisor ended without an answer: %w", err)
	case r.None:
		err = absent(r.Notes)
	case r.Error != "":
		err = errors.New(r.Error)
	default:
		return g, r, nil
	}
	return nil, report{}, errors.Join(err, g.close())
}

func spawn(j job) (*guard, io.ReadCloser, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	// No context: it must outlive every one. Stderr stays closed, or go test would wait for it.
	cmd := exec.CommandContext(context.Background(), exe)
	// Built with -race it would sleep for a second before it ends.
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	detach(cmd)
	line, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return &guard{cmd: cmd, line: line}, answer, nil
}

// close asks the supervisor to take everything down and waits for its end.
func (g *guard) close() error {
	g.line.Close()
	timer := time.AfterFunc(closeTimeout, func() { _ = g.cmd.Process.Kill() })
	err := g.cmd.Wait()
	if !timer.Stop() {
		return fmt.Errorf("take server down: not finished after %v", closeTimeout)
	}
	if err != nil {
		return fmt.Errorf("take server down: the supervisor: %w", err)
	}
	return nil
}
