//go:build unix

package server

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a command may take to end after a signal.
const patience = 30 * time.Second

// Forwarded are the signals that a command receives in our place.
var Forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// Run runs a command, with an environment, in a process group of its own, passes signals on to the group, and leaves nothing of the group
// behind, also if this process is killed. A second signal, or patience's end, kills it. It returns the command's exit code.
func (s *Server) Run(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
	// Its own group: a terminal's Ctrl-C would reach it a second time beside the one passed on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	group := cmd.Process.Pid
	defer func() { _ = syscall.Kill(-group, syscall.SIGKILL) }()
	if err := s.guardGroup(group); err != nil {
		return 1, err
	}

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var late <-chan time.Time
	for {
		select {
		case err := <-ended:
			return exitCode(err, cmd.ProcessState), s.guardGroup(0)
		case signal := <-signals:
			if late != nil {
				signal = syscall.SIGKILL
			}
			late = time.After(patience)
			_ = syscall.Kill(-group, signal.(syscall.Signal))
		case <-late:
			_ = syscall.Kill(-group, syscall.SIGKILL)
		}
	}
}

// exitCode is the command's own, or what a shell makes of the signal that ended it.
func exitCode(err error, state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1
	}
	return state.ExitCode()
}
