package server

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

// Forwarded are the signals that end a command.
var Forwarded = []os.Signal{os.Interrupt}

// Run runs a command, with an environment, and kills it at a signal. It returns the command's exit code.
func (s *Server) Run(command, env []string, signals <-chan os.Signal) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	if err := s.guardGroup(cmd.Process.Pid); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 1, errors.Join(err, s.guardGroup(0))
			}
			return cmd.ProcessState.ExitCode(), s.guardGroup(0)
		case <-signals:
			cancel()
		}
	}
}
