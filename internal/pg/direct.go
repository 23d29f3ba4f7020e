package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"net/netip"
)

// view is what a connection looks like from the server's end.
type view struct {
	PID        int            `db:"pid"`
	Client     sql.NullString `db:"client"` // NULL: a Unix socket
	ClientPort sql.NullInt64  `db:"client_port"`
	Server     sql.NullString `db:"server"`
	ServerPort sql.NullInt64  `db:"server_port"`
	Usual      bool           `db:"usual"` // alone, a statement has the isolation and the rights that a transaction of ours asks for
}

// Without arguments, and so one round trip in each of lib/pq's modes.
var askConnection = DefineRead("ask_connection", `
	SELECT pg_catalog.pg_backend_pid() AS pid,
	       pg_catalog.host(pg_catalog.inet_client_addr()) AS client, pg_catalog.inet_client_port() AS client_port,
	       pg_catalog.host(pg_catalog.inet_server_addr()) AS server, pg_catalog.inet_server_port() AS server_port,
	       pg_catalog.current_setting('default_transaction_isolation') = 'read committed'
	           AND pg_catalog.current_setting('default_transaction_read_only') = 'off' AS usual`)

// ask asks the server what a connection is. An error says that the connection is of no use.
//
// In lib/pq's default mode a statement is two round trips, or one that rests on an earlier one, which have to reach the same
// server process: the connection must be direct. With binary_parameters it is one, and may go anywhere.
func (d *DB) ask(ctx context.Context, conn *sql.Conn, self pqConn) (*link, error) {
	var seen view
	err := connSession(conn).get(ctx, &seen, d.texts.of(askConnection, alone), nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil && isLost(err):
		return nil, fmt.Errorf("%w: %w", driver.ErrBadConn, err)
	}
	l := &link{wire: self.wire, status: self.status} // of a server that refuses the question nothing is known
	if err == nil && seen.isDirect(self) {
		l.prepared = make(map[string]statement)
	}
	l.alone = d.opts.Statements == Single || seen.Usual && (self.binary || l.prepared != nil)
	return l, nil
}

// isDirect reports whether the server sees the very connection that this process holds, so that nothing stands between the two
// which could lead it to another server process. Nobody's word is trusted for that.
//
// The backend's process id in the start-up key is not enough: PgBouncer makes up a key, but a pooler may pass on that of the
// server connection which it begins with. So both ends of a TCP connection must have the same two addresses, and while it lives
// no other one has these four numbers. Behind anything that ends TCP, and where addresses are translated, they differ.
//
// A Unix socket has no such name. There the process that listens on it must be the parent of the backend, as only the server is.
func (v view) isDirect(self pqConn) bool {
	if v.PID == 0 || v.PID != self.pid {
		return false
	}
	switch wire := self.wire.(type) {
	case *net.TCPConn:
		return isAt(wire.LocalAddr(), v.Client, v.ClientPort) && isAt(wire.RemoteAddr(), v.Server, v.ServerPort)
	case *net.UnixConn:
		return !v.Client.Valid && !v.Server.Valid && listensForParentOf(v.PID, wire)
	default:
		return false
	}
}

// isAt reports whether an end of a TCP connection has the address that the server tells.
func isAt(end net.Addr, host sql.NullString, port sql.NullInt64) bool {
	tcp, ok := end.(*net.TCPAddr)
	if !ok || !host.Valid || !port.Valid || int64(tcp.Port) != port.Int64 {
		return false
	}
	told, err := netip.ParseAddr(host.String)
	here := tcp.AddrPort().Addr().Unmap().WithZone("") // the server leaves out zones
	return err == nil && told.Unmap() == here
}
