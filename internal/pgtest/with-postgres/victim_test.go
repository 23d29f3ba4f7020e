//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/server"
)

// A victim is this test binary once more, in a role that its environment gives it. All its temporary files
// are in a directory of its own, by whose name its processes are known.
type victim struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string
	done   string // file that ends untilFile
	stdout *bufio.Reader
	stderr *bytes.Buffer

	url, run string
}

// wrapper starts the wrapper with untilFile as its command and returns when that runs.
func wrapper(t *testing.T, env []string, args ...string) *victim {
	t.Helper()
	v := spawn(t, append([]string{asWrapper + "=1", "PGTEST_SERVER=local"}, env...), args...)
	words := strings.Fields(v.line())
	if len(words) == 2 { // -demo: no run
		words = slices.Insert(words, 1, "")
	}
	if len(words) != 3 {
		v.wait()
		t.Fatalf("the command did not start: %q; stderr:\n%s", words, v.stderr)
	}
	v.run, v.url = words[1], words[2]
	return v
}

func spawn(t *testing.T, env []string, args ...string) *victim {
	t.Helper()
	v := &victim{t: t, tmp: publicTempDir(t), stderr: new(bytes.Buffer)}
	v.done = filepath.Join(t.TempDir(), "done")
	v.cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	v.cmd.Env = append(environment(), append(env, "TMPDIR="+v.tmp, "DONE="+v.done, "GORACE=atexit_sleep_ms=0")...)
	v.cmd.Stderr = v.stderr
	v.cmd.WaitDelay = time.Second // a command that outlives the wrapper holds stderr open
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.stdout = bufio.NewReader(stdout)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return v
}

// environment is ours without what leads to a server, but for the programs that may be the only ones.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "PGTEST_") && !strings.HasPrefix(s, server.EnvBin+"=") || strings.HasPrefix(s, "TEST_DATABASE_URL=") || strings.HasPrefix(s, "DATABASE_URL=")
	})
}

// publicTempDir is a directory that the server's own user can enter, unlike t.TempDir's.
func publicTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "victim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// line returns the victim's first line of output, "" if it ended without one.
func (v *victim) line() string {
	line, _ := v.stdout.ReadString('\n')
	return line
}

// answers checks that the server is there, and one of its settings.
func (v *victim) answers(query, want string) {
	v.t.Helper()
	if got := ask[string](v.t, v.url, query); got != want {
		v.t.Errorf("%s = %s, want %s", query, got, want)
	}
}

func (v *victim) exec(statement string) {
	v.t.Helper()
	db := open(v.t, v.url)
	defer db.Close()
	if _, err := db.ExecContext(v.t.Context(), statement); err != nil {
		v.t.Fatal(err)
	}
}

// release lets untilFile end.
func (v *victim) release() {
	v.t.Helper()
	if err := os.WriteFile(v.done, nil, 0o600); err != nil {
		v.t.Error(err)
	}
}

// sending returns a way to end a victim: by signals, a moment apart.
func sending(signals ...syscall.Signal) func(*victim) {
	return func(v *victim) {
		v.t.Helper()
		for i, s := range signals {
			if i > 0 {
				kit.Pause(v.t.Context(), 200*time.Millisecond) // else the kernel may merge them
			}
			if err := v.cmd.Process.Signal(s); err != nil {
				v.t.Error(err)
			}
		}
	}
}

// wait returns the exit code, -1 after a signal.
func (v *victim) wait() int {
	v.t.Helper()
	var exit *exec.ExitError
	if err := v.cmd.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		v.t.Fatal(err)
	}
	return v.cmd.ProcessState.ExitCode()
}

func (v *victim) killed() bool { return v.cmd.ProcessState.ExitCode() == -1 }

func (v *victim) mustBeClear() {
	v.t.Helper()
	if left := v.left(); left != nil {
		v.t.Errorf("left behind: %q", left)
	}
}

// awaitClear is mustBeClear where another process does the clearing up.
func (v *victim) awaitClear() {
	v.t.Helper()
	kit.Until(v.t, "nothing left behind", func() bool { return v.left() == nil })
}

// left lists what the victim's descendants left: files, and processes that were told its directory. The
// latter needs Linux.
func (v *victim) left() []string {
	files, err := filepath.Glob(filepath.Join(v.tmp, "*"))
	if err != nil {
		v.t.Fatal(err)
	}
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		v.t.Fatal(err)
	}
	for _, path := range environments {
		text, err := os.ReadFile(path) // gone, or another user's
		if err == nil && bytes.Contains(text, []byte(v.tmp)) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			files = append(files, fmt.Sprintf("%s: %s", path, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return files
}
