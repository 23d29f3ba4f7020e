package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// spawn has another process do the task.
func spawn(ctx context.Context, t task) (values, error) {
	cmd, err := command(ctx, t)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, cmd.Stderr)
	}
	var v values
	err = json.Unmarshal(lastLine(out), &v)
	return v, err
}

func lastLine(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return lines[len(lines)-1]
}

// command prepares a process, which the caller starts, for a task; it may take ten minutes.
func command(ctx context.Context, t task) (*exec.Cmd, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "-child", string(text))
	cmd.Stderr = new(strings.Builder)
	return cmd, nil
}

// withWorkers does a task beside so many processes that work.
func withWorkers(ctx context.Context, t task, workers int) (v values, err error) {
	all := make([]*workingProcess, 0, workers)
	for i := range workers {
		w, startErr := startWorker(ctx, t, i)
		if startErr != nil {
			err = startErr
			break
		}
		all = append(all, w)
		if i == 0 { // it makes the tables
			if err = w.ready(); err != nil {
				break
			}
		}
	}
	for _, w := range all[min(1, len(all)):] {
		err = errors.Join(err, w.ready())
	}
	if err == nil {
		v, err = spawn(ctx, t)
	}
	for _, w := range all {
		w.in.Close()
	}
	for _, w := range all {
		used, endErr := w.end()
		v.add(used, t.Count)
		err = errors.Join(err, endErr)
	}
	return v, err
}

// A workingProcess is one that executes runs.
type workingProcess struct {
	cmd *exec.Cmd
	in  io.Closer // ends it
	out *bufio.Reader
}

func startWorker(ctx context.Context, t task, number int) (*workingProcess, error) {
	t.For, t.Cell = t.Cell, cellWorker
	if t.Profile != "" {
		t.Profile = fmt.Sprintf("%s-worker%s.pprof", strings.TrimSuffix(t.Profile, ".pprof"), orEmpty(number))
	}
	cmd, err := command(ctx, t)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &workingProcess{cmd: cmd, in: in, out: bufio.NewReader(out)}, cmd.Start()
}

// ready returns when the process works.
func (w *workingProcess) ready() error {
	if line, err := w.out.ReadString('\n'); err != nil || line != "ready\n" {
		return errors.Join(errors.New("a worker did not begin"), err)
	}
	return nil
}

// end awaits a process whose input is closed, and returns what it has taken.
func (w *workingProcess) end() (*syscall.Rusage, error) {
	_, _ = io.Copy(io.Discard, w.out)
	if err := w.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("worker: %w: %s", err, w.cmd.Stderr)
	}
	used, _ := w.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return used, nil
}
