package kit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	taskVariable = "WORKFLOW_TEST_TASK" // makes a test program one of the other processes of a test
	gateVariable = "WORKFLOW_TEST_GATE" // and lets it wait for the others
)

// Main is a TestMain: it runs the tests and looks for goroutines that they left, or, in a process that [Spawn] or [Crowd]
// has started, runs child with their task.
func Main[Task any](m *testing.M, child func(Task) error) {
	text := os.Getenv(taskVariable)
	if text == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := runTask(text, child); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runTask[Task any](text string, child func(Task) error) error {
	var task Task
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	if os.Getenv(gateVariable) != "" {
		fmt.Println("ready")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
	}
	return child(task)
}

// command returns this test program, to be started again for a task.
func command(t testing.TB, ctx context.Context, task any, env ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(task)
	Must(t, err)
	program, err := os.Executable()
	Must(t, err)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(append(os.Environ(), taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

// A Process is another process of a test, in which the child of [Main] runs.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.Writer
	out   io.ReadCloser
	lines *bufio.Scanner
	ended bool
}

// Spawn starts a process with a task, which goes there as JSON. It is killed when the test ends.
func Spawn(t testing.TB, task any) *Process {
	t.Helper()
	cmd := command(t, context.Background(), task)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	Must(t, err)
	out, err := cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	p := &Process{t: t, cmd: cmd, in: in, out: out, lines: bufio.NewScanner(out)}
	t.Cleanup(p.Kill)
	return p
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process, which may have ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Line waits for the next line that the process prints.
func (p *Process) Line() string {
	p.t.Helper()
	defer p.killLater().Stop()
	if !p.lines.Scan() {
		p.t.Fatalf("process %d has ended, or said nothing for %s: %v", p.PID(), Patience, p.lines.Err())
	}
	return p.lines.Text()
}

// Says waits for the next line, which must be the given one.
func (p *Process) Says(want string) {
	p.t.Helper()
	if got := p.Line(); got != want {
		p.t.Fatalf("process %d said %q, want %q", p.PID(), got, want)
	}
}

// Tell writes a line to the process's standard input.
func (p *Process) Tell(line string) {
	p.t.Helper()
	_, err := fmt.Fprintln(p.in, line)
	Must(p.t, err)
}

// Kill ends the process by SIGKILL, and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	_ = p.wait()
}

// Terminate tells the process to end, by SIGTERM, and waits until it has.
func (p *Process) Terminate() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		p.t.Errorf("process %d, told to end: %v", p.PID(), err)
	}
}

func (p *Process) wait() error {
	if p.ended {
		return nil
	}
	p.ended = true
	defer p.killLater().Stop()
	_, _ = io.Copy(io.Discard, p.out)
	return p.cmd.Wait()
}

// killLater bounds a wait for the process.
func (p *Process) killLater() *time.Timer {
	return time.AfterFunc(Patience, func() { p.Signal(syscall.SIGKILL) })
}

// Crowd starts n processes with one task, lets them begin it together and waits for all, none of which may fail.
func Crowd(t testing.TB, n int, task any) {
	t.Helper()
	gate, open, err := os.Pipe() // its end is the signal
	Must(t, err)
	defer gate.Close()
	type member struct {
		cmd    *exec.Cmd
		output *bytes.Buffer
	}
	var crowd []member
	defer func() {
		_ = open.Close()
		for _, m := range crowd {
			if err := m.cmd.Wait(); err != nil {
				t.Errorf("process %d: %v: %s", m.cmd.Process.Pid, err, m.output)
			}
		}
	}()
	ctx := Within(t, 2*Patience)
	for range n {
		cmd, output := command(t, ctx, task, gateVariable+"=1"), new(bytes.Buffer)
		cmd.Stdin, cmd.Stderr = gate, output
		ready, err := cmd.StdoutPipe()
		Must(t, err)
		Must(t, cmd.Start())
		crowd = append(crowd, member{cmd, output})
		if _, err := ready.Read(make([]byte, 1)); err != nil {
			t.Errorf("process %d: %v", cmd.Process.Pid, err)
		}
	}
}
