//go:build unix

package server

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// detach puts cmd into a session of its own, out of reach of the terminal's Ctrl-C and of a killed group.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// account is the user that servers run as when we are root, which they refuse to be.
func account() (uid, gid int) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return uid, gid
		}
	}
	const nobody = 65534
	return nobody, nobody
}

func unprivileged(cmd *exec.Cmd) {
	if os.Getuid() != 0 {
		return
	}
	uid, gid := account()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func own(path string) error {
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid := account()
	return os.Chown(path, uid, gid)
}

// killGroup ends a process group, politely first.
func killGroup(id int) {
	if syscall.Kill(-id, syscall.SIGTERM) != nil {
		return
	}
	for range 20 {
		time.Sleep(50 * time.Millisecond)
		if syscall.Kill(-id, 0) != nil {
			return
		}
	}
	_ = syscall.Kill(-id, syscall.SIGKILL)
}
