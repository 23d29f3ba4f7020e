package store_test

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A proxy stands between a driver and the server, and can make the network go dead: connections stay open, and nothing
// comes through any more.
type proxy struct {
	listener net.Listener
	upstream string
	done     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	silent bool
	closed bool
	last   string // word that goes nowhere when a client says it: from then on the network is dead
}

// newProxy returns a proxy and the database's address through it, for a direct access.
func newProxy(t *testing.T, database *pgtest.Database, access pgtest.Access) (p *proxy, throughURL string) {
	t.Helper()
	u, err := url.Parse(database.AccessURL(t, access))
	kit.Must(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	kit.Must(t, err)
	p = &proxy{listener: listener, upstream: u.Host}
	p.done.Go(p.serve)
	t.Cleanup(p.close)
	u.Host = listener.Addr().String()
	return p, u.String()
}

// silenceAt makes the network go dead when a client says a word.
func (p *proxy) silenceAt(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = word
}

// silence makes the network go dead, for new connections too.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

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
		p.mu.Unlock()
		p.done.Go(func() { p.copy(server, client) })
		p.done.Go(func() { p.copy(client, server) })
	}
}

// copy passes on what it reads, or, when silent, drops it.
func (p *proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		if p.last != "" && strings.Contains(strings.ToUpper(string(buffer[:n])), p.last) {
			p.silent = true
		}
		silent := p.silent
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
