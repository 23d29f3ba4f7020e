package pg_test

import (
	"database/sql"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// listen serves each connection that comes by serve, until the test ends. What serve opens it gives to keep, which closes it then.
func listen(t *testing.T, serve func(client net.Conn, keep func(net.Conn))) (addr string) {
	t.Helper()
	return listenAt(t, "tcp", "127.0.0.1:0", serve)
}

func listenAt(t *testing.T, network, at string, serve func(client net.Conn, keep func(net.Conn))) (addr string) {
	t.Helper()
	listener, err := net.Listen(network, at)
	kit.Must(t, err)
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(conn net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, conn)
	}
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			keep(client)
			running.Go(func() { serve(client, keep) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}

// A proxy hands on bytes to where target leads when a connection comes.
type proxy struct {
	addr   string
	target atomic.Pointer[string]
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := new(proxy)
	p.target.Store(&target)
	p.addr = listen(t, func(client net.Conn, keep func(net.Conn)) { relay(client, keep, "tcp", *p.target.Load()) })
	return p
}

// newSocketProxy hands on bytes to a Unix socket from another one of the same name, and returns that one's directory.
func newSocketProxy(t *testing.T, target string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg") // a socket's path must be short
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listenAt(t, "unix", filepath.Join(dir, filepath.Base(target)), func(client net.Conn, keep func(net.Conn)) {
		relay(client, keep, "unix", target)
	})
	return dir
}

func relay(client net.Conn, keep func(net.Conn), network, target string) {
	defer client.Close()
	server, err := net.Dial(network, target)
	if err != nil {
		return
	}
	defer server.Close()
	keep(server)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	_, _ = io.Copy(server, client)
	_ = server.Close()
	back.Wait()
}

// A switcher is a pooler in transaction mode. Each client opens one more server connection, sees the start-up key of that, and
// then speaks with whichever server connection has been idle for longest.
type switcher struct {
	addr string
	idle chan net.Conn
}

func newSwitcher(t *testing.T, target string) *switcher {
	t.Helper()
	s := &switcher{idle: make(chan net.Conn, 100)}
	s.addr = listen(t, func(client net.Conn, keep func(net.Conn)) {
		defer client.Close()
		startup, err := message(client, 0)
		if err != nil || len(startup) == cancelRequest {
			return
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		keep(server)
		if _, err := server.Write(startup); err != nil || answer(client, server) != nil {
			return
		}
		s.idle <- server
		for s.transaction(client) == nil {
		}
	})
	return s
}

const (
	cancelRequest = 16 // bytes
	query, syncs  = 'Q', 'S'
	ready, idle   = 'Z', 'I'
)

// transaction hands on what the client says, until a server connection is free for others again.
func (s *switcher) transaction(client net.Conn) error {
	first, err := message(client, 1)
	if err != nil {
		return err
	}
	server := <-s.idle
	for m := first; ; {
		if _, err := server.Write(m); err != nil {
			return err
		}
		if m[0] == query || m[0] == syncs {
			switch err := answer(client, server); err {
			case nil:
				s.idle <- server
				return nil
			case errInTransaction:
			default:
				return err
			}
		}
		if m, err = message(client, 1); err != nil {
			return err // and the server connection is lost, as its transaction is
		}
	}
}

var errInTransaction = io.ErrNoProgress

// answer hands on what the server says until it is ready for the next.
func answer(client, server net.Conn) error {
	for {
		m, err := message(server, 1)
		if err != nil {
			return err
		}
		if _, err := client.Write(m); err != nil {
			return err
		}
		if m[0] == ready && m[5] != idle {
			return errInTransaction
		}
		if m[0] == ready {
			return nil
		}
	}
}

// message reads one message: a type of so many bytes, a length, and the rest.
func message(from net.Conn, typed int) ([]byte, error) {
	head := make([]byte, typed+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[typed:])-4)
	_, err := io.ReadFull(from, rest)
	return slices.Concat(head, rest), err
}

// keyOf returns the process id in the start-up key of a connection of lib/pq's.
func keyOf(t *testing.T, conn *sql.Conn) (pid int) {
	t.Helper()
	kit.Must(t, conn.Raw(func(c any) error {
		pid = int(reflect.ValueOf(c).Elem().FieldByName("pid").Int())
		return nil
	}))
	return pid
}
