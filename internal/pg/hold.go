package pg

import (
	"database/sql"
	"sync"
)

// A hold is a connection that [DB.Hold] keeps. It is closed when nobody uses it any more: a statement that was left behind, its caller
// gone, may be about to go out on it, and a *sql.Conn that is closed at that moment is a nil pointer in database/sql, which ends
// the process.
type hold struct {
	conn *sql.Conn

	mu     sync.Mutex
	users  int
	closed bool
}

// use calls f, unless the connection is closed. Of a DB that holds none it calls f too.
func (h *hold) use(f func() error) error {
	if h == nil {
		return f()
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return sql.ErrConnDone
	}
	h.users++
	h.mu.Unlock()
	defer h.leave()
	return f()
}

func (h *hold) leave() {
	h.mu.Lock()
	h.users--
	last := h.closed && h.users == 0
	h.mu.Unlock()
	if last { // a transaction that was begun keeps it open until its end
		_ = leave(h.conn.Close)
	}
}

// close closes the connection once nobody uses it, and does not wait for that.
func (h *hold) close() {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	now := first && h.users == 0
	h.mu.Unlock()
	if now {
		_ = leave(h.conn.Close)
	}
}
