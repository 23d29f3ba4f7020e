package notify_test

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A hole stands between a client and the server, and can swallow what they say: connections stay open, new ones are taken, and
// nothing comes through.
type hole struct {
	listener net.Listener
	upstream string
	done     sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	swallows bool
	closed   bool
}

// newHole returns a hole that lets everything through, and the database's address behind it.
func newHole(t *testing.T, database *pgtest.Database) (h *hole, address string) {
	t.Helper()
	u, err := url.Parse(database.URL())
	kit.Must(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	kit.Must(t, err)
	h = &hole{listener: listener, upstream: u.Host}
	h.done.Go(h.serve)
	t.Cleanup(h.close)
	u.Host = listener.Addr().String()
	return h, u.String()
}

func (h *hole) swallow(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.swallows = yes
}

func (h *hole) close() {
	h.listener.Close()
	h.mu.Lock()
	h.closed = true
	for _, conn := range h.conns {
		conn.Close()
	}
	h.mu.Unlock()
	h.done.Wait()
}

func (h *hole) serve() {
	for {
		client, err := h.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).Dial("tcp", h.upstream)
		if err != nil {
			client.Close()
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, client, server)
		if h.closed {
			client.Close()
			server.Close()
		}
		h.mu.Unlock()
		h.done.Go(func() { h.pass(server, client) })
		h.done.Go(func() { h.pass(client, server) })
	}
}

// pass passes on what it reads, unless it swallows it. A connection of which something was swallowed is dead for good.
func (h *hole) pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for dead := false; ; {
		n, err := from.Read(buffer)
		h.mu.Lock()
		dead = dead || h.swallows
		h.mu.Unlock()
		if err == nil && !dead {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			if !dead {
				to.Close()
			}
			return
		}
	}
}
