package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
	if l == unknown {
		return do(connSession(conn))
	}
	var err error
	if l.prepared != nil {
		err = onPrepared(ctx, conn, l, do)
	} else {
		err = do(connSession(conn))
	}
	if errors.Is(err, driver.ErrBadConn) {
		return errNoAnswer
	}
	return err
}

// errNoAnswer is said in place of driver.ErrBadConn, which means that nothing was sent, and which lib/pq says as well when it has sent
// a statement and got no answer.
var errNoAnswer = errors.New("the connection broke before the answer: the statement may or may not have taken effect")

// judge returns the link of a connection. One that was not seen before is asked, in one round trip; one on which something came
// unasked, such as its end, has to answer once more. So a statement is never the first to find out that the server is gone. An error
// says that the connection is of no use, and nothing has been sent but questions.
func (d *DB) judge(ctx context.Context, conn *sql.Conn) (*link, error) {
	if d.links == nil {
		return unknown, nil
	}
	known, self, err := d.links.known(conn)
	switch {
	case err != nil:
		return nil, err
	case known == nil:
		if known, err = d.ask(ctx, conn, self); err != nil {
			return nil, err
		}
		d.links.add(self.key, known)
	case known.alone && !isQuiet(known.wire):
		return known, conn.PingContext(ctx)
	}
	return known, nil
}

// known returns the connection's link, or nil and what the driver tells of a connection that has none yet. One on which somebody has
// left a transaction open is thrown away: alone, a statement would be in it, and reported as written.
func (l *links) known(conn *sql.Conn) (known *link, self pqConn, err error) {
	known = unknown
	err = conn.Raw(func(c any) error {
		if !isPQConn(c) {
			return nil
		}
		l.mu.Lock()
		known = l.of[c]
		l.mu.Unlock()
		if known == nil {
			var ok bool
			if self, ok = readPQConn(c); !ok {
				known = unknown
				return nil
			}
		} else {
			self.status = known.status
		}
		if self.status.Uint() != idleStatus {
			return driver.ErrBadConn
		}
		return nil
	})
	return known, self, err
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
