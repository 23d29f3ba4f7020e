package pg

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"reflect"
	"sync"
	"syscall"
)

// A link is what is known of one connection of lib/pq's. What was found out holds for as long as the connection lives.
type link struct {
	wire     net.Conn
	status   reflect.Value        // whether lib/pq is in a transaction, read by whoever has the connection
	alone    bool                 // a statement may be sent by itself
	prepared map[string]statement // by their texts; nil unless the connection is direct. For whoever has the connection
}

// links are those of a pool's connections that the driver has open.
type links struct {
	mu sync.Mutex
	of map[any]*link // by lib/pq's connection
}

func newLinks() *links { return &links{of: make(map[any]*link)} }

// unknown is the link of a connection that is not lib/pq's own, or that cannot be read.
var unknown = &link{}

// on calls do with the session that sends a lone statement on the connection, if it may stand alone.
func (l *link) on(ctx context.Context, conn *sql.Conn, do func(session) error) error {
	if l.prepared != nil {
		return onPrepared(ctx, conn, l, do)
	}
	return do(connSession(conn))
}

// judge returns the link of a connection. One that was not seen before is asked, in one round trip; one on which something came
// unasked, such as its end, has to answer once more. So a statement is never the first to find out that the server is gone: lib/pq
// then reports driver.ErrBadConn even after it has sent something. An error says that the connection is of no use, and nothing
// has been sent but questions.
func (d *DB) judge(ctx context.Context, conn *sql.Conn) (*link, error) {
	known, self := d.links.known(conn)
	if known == nil {
		var err error
		if known, err = d.ask(ctx, conn, self); err != nil {
			return nil, err
		}
		d.links.add(self.key, known)
		return known, nil
	}
	if known.alone && !isQuiet(known.wire) {
		if err := conn.PingContext(ctx); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// known returns the connection's link, or nil and what the driver tells of a connection that has none yet.
func (l *links) known(conn *sql.Conn) (known *link, self pqConn) {
	known = unknown
	_ = conn.Raw(func(c any) error {
		if !isPQConn(c) {
			return nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if known = l.of[c]; known != nil {
			if known.alone && known.status.Uint() != idleStatus {
				known = unknown // somebody has left a transaction open: lib/pq's BEGIN refuses that
			}
			return nil
		}
		var ok bool
		if self, ok = readPQConn(c); !ok || self.status.Uint() != idleStatus {
			known = unknown
		}
		return nil
	})
	return known, self
}

// add remembers a link, and forgets those whose connections were closed meanwhile.
func (l *links) add(key any, added *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, known := range l.of {
		if isClosed(known.wire) {
			delete(l.of, key)
		}
	}
	l.of[key] = added
}

// isClosed reports whether this process has closed the connection.
func isClosed(wire net.Conn) bool {
	c, ok := wire.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := c.SyscallConn()
	return err != nil || errors.Is(raw.Control(func(uintptr) {}), net.ErrClosed)
}
