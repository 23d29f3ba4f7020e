package server

import (
	"os"
	"os/exec"
)

// Windows has no sessions, and its programs of PostgreSQL run as anybody but an administrator.

func detach(*exec.Cmd)       {}
func unprivileged(*exec.Cmd) {}
func own(string) error       { return nil }

// killGroup ends the process that leads the group: there is no more to it here.
func killGroup(id int) {
	if p, err := os.FindProcess(id); err == nil {
		_ = p.Kill()
	}
}
