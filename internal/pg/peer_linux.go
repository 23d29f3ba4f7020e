package pg

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"syscall"
)

// listensForParentOf reports whether the process that listens at the other end of a Unix socket is the parent of another one.
func listensForParentOf(child int, wire *net.UnixConn) bool {
	raw, err := wire.SyscallConn()
	if err != nil {
		return false
	}
	var listener *syscall.Ucred
	var none error
	err = raw.Control(func(fd uintptr) {
		listener, none = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	return err == nil && none == nil && listener.Pid > 0 && int(listener.Pid) == parentOf(child)
}

// parentOf returns the id of a process's parent; 0 if it is not to be seen.
func parentOf(pid int) (parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var state string // after the process's name, which may be anything in parentheses
	if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent); err != nil {
		return 0
	}
	return parent
}
