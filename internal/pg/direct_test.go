package pg

import (
	"database/sql"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// What the server sees has to be all of what this process sees.
func TestIsDirect(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	wire, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	text := func(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }
	port := func(a net.Addr) sql.NullInt64 {
		return sql.NullInt64{Int64: int64(a.(*net.TCPAddr).Port), Valid: true}
	}
	same := view{
		PID: 7, Client: text("127.0.0.1"), ClientPort: port(wire.LocalAddr()), Server: text("127.0.0.1"), ServerPort: port(wire.RemoteAddr()),
	}
	other := sql.NullInt64{Int64: 1, Valid: true}
	for name, test := range map[string]struct {
		change func(*view)
		want   bool
	}{
		"the same":              {want: true},
		"in another notation":   {change: func(v *view) { v.Client = text("::ffff:127.0.0.1") }, want: true},
		"another backend":       {change: func(v *view) { v.PID = 8 }},
		"another client":        {change: func(v *view) { v.Client = text("127.0.0.2") }},
		"another client's port": {change: func(v *view) { v.ClientPort = other }},
		"another server":        {change: func(v *view) { v.Server = text("127.0.0.2") }},
		"another server's port": {change: func(v *view) { v.ServerPort = other }},
		"the server sees a Unix socket": {change: func(v *view) {
			v.Client, v.ClientPort, v.Server, v.ServerPort = sql.NullString{}, sql.NullInt64{}, sql.NullString{}, sql.NullInt64{}
		}},
	} {
		seen := same
		if test.change != nil {
			test.change(&seen)
		}
		if got := seen.isDirect(pqConn{pid: 7, wire: wire}); got != test.want {
			t.Errorf("%s: direct %t, want %t", name, got, test.want)
		}
	}
	if seen := (view{}); seen.isDirect(pqConn{wire: wire}) {
		t.Error("direct without any key")
	}
}

// On a Unix socket the one who listens has to be the parent of the backend.
func TestIsDirectOnUnixSocket(t *testing.T) {
	wire := socket(t, ".s.PGSQL.5433")
	ours := exec.CommandContext(t.Context(), "cat")
	stdin, err := ours.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), ours.Wait() })
	child, other := ours.Process.Pid, os.Getpid()
	for name, test := range map[string]struct {
		seen view
		key  int
		want bool
	}{
		"a child of who listens": {seen: view{PID: child}, key: child, want: runtime.GOOS == "linux"},
		"a child of another":     {seen: view{PID: other}, key: other},
		"no process":             {seen: view{PID: 1 << 30}, key: 1 << 30},
		"another backend":        {seen: view{PID: child}, key: other},
		"the server sees TCP":    {seen: view{PID: child, Client: sql.NullString{String: "127.0.0.1", Valid: true}}, key: child},
	} {
		if got := test.seen.isDirect(pqConn{pid: test.key, wire: wire}); got != test.want {
			t.Errorf("%s: direct %t, want %t", name, got, test.want)
		}
	}
}

func socket(t *testing.T, name string) net.Conn {
	t.Helper()
	t.Chdir(t.TempDir()) // a socket's path must be short
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	wire, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	return wire
}

// What is known of a connection is forgotten when another one is asked after its end.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	known := newLinks()
	for i := range 10 {
		wire, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = wire.Close() })
		known.add(i, &link{wire: wire})
		if i > 0 { // the first stays open
			_ = wire.Close()
		}
	}
	if n := len(known.of); n != 2 || known.of[0] == nil || known.of[9] == nil {
		t.Errorf("%d connections are known, want the open one and the last", n)
	}
}
