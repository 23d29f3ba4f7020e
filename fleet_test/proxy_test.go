package fleet_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A proxy stands between a worker and the server, and can make the network go dead: connections stay open, and nothing
// comes through any more.
type proxy struct {
	listener net.Listener
	upstream string
	done     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	silent *silence // of new connections
	closed bool
}

type silence struct{ on bool }

func newProxy(t *testing.T, database *pgtest.Database, access pgtest.Access) (p *proxy, throughURL string) {
	t.Helper()
	u, err := url.Parse(database.AccessURL(t, access))
	kit.Must(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	kit.Must(t, err)
	p = &proxy{listener: listener, upstream: u.Host, silent: new(silence)}
	p.done.Go(p.serve)
	t.Cleanup(p.close)
	u.Host = listener.Addr().String()
	return p, u.String()
}

// silence makes the network go dead, for new connections too.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent.on = true
}

// silenceOld makes the connections that are open now go dead.
func (p *proxy) silenceOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent.on = true
	p.silent = new(silence)
}

// close breaks all connections.
func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).Dial("tcp", p.upstream)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		if p.closed {
			client.Close()
			server.Close()
		}
		silent := p.silent
		p.mu.Unlock()
		p.done.Go(func() { p.copy(server, client, silent) })
		p.done.Go(func() { p.copy(client, server, silent) })
	}
}

// copy passes on what it reads, or, when silent, drops it.
func (p *proxy) copy(to, from net.Conn, s *silence) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		silent := s.on
		p.mu.Unlock()
		if !silent {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				err = io.EOF
			}
		}
		if err != nil {
			if !silent {
				to.Close()
			}
			return
		}
	}
}
