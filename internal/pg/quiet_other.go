//go:build !unix

package pg

import "net"

// isQuiet reports false: what has come on a connection cannot be seen here without reading it.
func isQuiet(net.Conn) bool { return false }
