package kit

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A Proxy stands between clients and the server, and can make the network go dead: connections stay open, new ones are taken, and
// nothing comes through any more.
type Proxy struct {
	listener net.Listener
	upstream string
	done     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	silent *silence // of new connections
	closed bool
	last   string // word that goes nowhere when somebody says it: from then on the network is dead
}

// A silence is over all connections that were opened before the network worked again.
type silence struct{ on bool }

// NewProxy returns a proxy that lets everything through until the test ends, and a database's address through it.
func NewProxy(t testing.TB, address string) (p *Proxy, through string) {
	t.Helper()
	u, err := url.Parse(address)
	Must(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	Must(t, err)
	p = &Proxy{listener: listener, upstream: u.Host, silent: new(silence)}
	p.done.Go(p.serve)
	t.Cleanup(p.Close)
	u.Host = listener.Addr().String()
	return p, u.String()
}

// Silence makes the network go dead, for new connections too.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent.on = true
}

// SilenceAt makes the network go dead when somebody says a word, in upper case, which is lost itself.
func (p *Proxy) SilenceAt(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = word
}

// SilenceOld makes the connections that are open now go dead for good, and lets new ones through.
func (p *Proxy) SilenceOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent.on = true
	p.silent = new(silence)
}

// Connections returns how many were ever taken.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close breaks all connections, and takes no more. The end of the test closes too.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

func (p *Proxy) serve() {
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
		p.done.Go(func() { p.pass(server, client, silent) })
		p.done.Go(func() { p.pass(client, server, silent) })
	}
}

// pass passes on what it reads, or drops it when the network is dead.
func (p *Proxy) pass(to, from net.Conn, s *silence) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		if p.last != "" && strings.Contains(strings.ToUpper(string(buffer[:n])), p.last) {
			s.on = true
		}
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
