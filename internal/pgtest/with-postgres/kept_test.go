package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/server"
)

// What a server was given to keep is there at the next start, on the port that was asked for; a port that is taken is an error.
func TestDataIsKept(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	parent := t.TempDir()
	kit.Must(t, os.Chmod(filepath.Dir(parent), 0o755)) // root's server is not root
	dir := filepath.Join(parent, "kept")
	start := func(o server.Options) *server.Server {
		t.Helper()
		s, err := server.Start(t.Context(), o)
		kit.Must(t, err)
		return s
	}
	first := start(server.Options{Dir: dir, Durable: true})
	db := open(t, first.URL)
	kit.Exec(t, db, `CREATE TABLE kept AS SELECT 7 AS n`)
	kit.Must(t, db.Close())
	kit.Must(t, first.Close())

	at, err := url.Parse(first.URL)
	kit.Must(t, err)
	port, err := strconv.Atoi(at.Port())
	kit.Must(t, err)
	second := start(server.Options{Dir: dir, Durable: true, Port: port})
	if n := ask[int](t, second.URL, `SELECT n FROM kept`); n != 7 || second.URL != first.URL {
		t.Errorf("%d at %s, want 7 at %s", n, second.URL, first.URL)
	}
	if _, err := server.Start(t.Context(), server.Options{Port: port}); err == nil || !strings.Contains(err.Error(), "port "+at.Port()) {
		t.Errorf("a port that is taken: %v", err)
	}
	kit.Must(t, second.Close())
	if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at.Host); err != nil {
		t.Errorf("the server is still there: %v", err)
	} else {
		kit.Must(t, l.Close())
	}
}
