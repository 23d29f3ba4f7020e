package pg

import (
	"net"
	"reflect"
	"unsafe"
)

const pqPath = "github.com/lib/pq"

// pqConn is what lib/pq's connection tells of itself. It is read from unexported fields, which are never written.
type pqConn struct {
	key    any      // the connection itself
	pid    int      // of the backend, as the start-up key says
	binary bool     // binary_parameters=yes: a statement is one round trip
	wire   net.Conn // a TCP connection or a Unix socket
	status reflect.Value
}

// idleStatus is the status of a session without a transaction, as the server last said.
const idleStatus = 'I'

// isPQConn reports whether a driver's connection is lib/pq's own, and not one that wraps it.
func isPQConn(c any) bool {
	t := reflect.TypeOf(c)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == pqPath && t.Elem().Name() == "conn"
}

// readPQConn reads what isPQConn has recognised, and reports whether it could: another release may have other fields.
func readPQConn(c any) (_ pqConn, ok bool) {
	v := reflect.ValueOf(c).Elem()
	if _, prepares := c.(preparer); !prepares || v.Kind() != reflect.Struct {
		return pqConn{}, false
	}
	pid, config, wire, status := v.FieldByName("pid"), v.FieldByName("cfg"), v.FieldByName("c"), v.FieldByName("txnStatus")
	if pid.Kind() != reflect.Int || config.Kind() != reflect.Struct || status.Kind() != reflect.Uint8 ||
		!wire.IsValid() || wire.Type() != reflect.TypeFor[net.Conn]() {
		return pqConn{}, false
	}
	binary := config.FieldByName("BinaryParameters")
	if binary.Kind() != reflect.Bool {
		return pqConn{}, false
	}
	// An unexported field shows its numbers to reflect, but no value that has methods.
	conn := *(*net.Conn)(unsafe.Pointer(wire.UnsafeAddr()))
	conn, ok = innermost(conn)
	return pqConn{key: c, pid: int(pid.Int()), binary: binary.Bool(), wire: conn, status: status}, ok
}

// innermost returns the socket under a connection, and reports whether it is one of the operating system's: the connection of
// an application's own dialer may lead anywhere.
func innermost(conn net.Conn) (net.Conn, bool) {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn }) // as tls.Conn has it
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return conn, true
	default:
		return nil, false
	}
}
