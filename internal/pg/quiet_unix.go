//go:build unix

package pg

import (
	"net"
	"syscall"
)

// isQuiet reports whether the connection is open and nothing has come on it. Nothing is read.
func isQuiet(wire net.Conn) bool {
	c, ok := wire.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var first [1]byte
	var none error
	err = raw.Control(func(fd uintptr) {
		_, _, none = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK)
	})
	return err == nil && none == syscall.EAGAIN
}
