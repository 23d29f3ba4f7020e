// Package pgtest gives each test its own database on a real PostgreSQL.
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		db := pgtest.New(t).Open(t, pgtest.PQ)
//		…
//	}
//
// [New] clones a template in which the workflow tables exist already, [Empty] gives an empty database, [Alone] does as New on a server
// that no other process writes to. All are dropped when the test ends. [Accesses] are the ways to reach a database that the library supports,
// each driver directly and through PgBouncer.
//
// The server is the one that the wrapper command (with-postgres, which make uses) started for the whole run.
// Without the wrapper each test process finds or starts its own on first use: TEST_DATABASE_URL, a Docker
// daemon, PostgreSQL's programs on this machine (PGTEST_BIN=dir names them, and then they win over Docker;
// PGTEST_SERVER=docker|local allows one source only; PGTEST_IMAGE names the image). It ends with the process,
// however that ends; see package server. PGTEST_VERSION=18 makes the wrapper fetch that version's programs, and is
// an error where the server is of another one. PGTEST_ISOLATION=serializable makes that the databases' default.
package pgtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/server"
)

// Schema is where [New] puts the workflow tables.
const Schema = "workflows"

// Full reports whether the whole matrix of drivers, modes and poolers was asked for (make test-all), rather
// than one driver and a smoke test of the rest.
func Full() bool { return os.Getenv(server.EnvFull) == "1" }

// Soak reports whether sizes that take minutes were asked for (make soak).
func Soak() bool { return os.Getenv(server.EnvSoak) == "1" }

// instance is the server of this process.
type instance struct {
	url string
	run string // part of the names of what is created there
	// template makes the database that New clones, once.
	template func() (string, error)
	// server keeps a server of our own alive: its pipe must stay reachable.
	server *server.Server
	// own says that it is the one of Alone.
	own bool
}

// shared finds or starts the server on first use.
var shared = sync.OnceValues(func() (*instance, error) {
	i := &instance{url: os.Getenv(server.EnvTestURL), run: os.Getenv(server.EnvRun)}
	i.template = sync.OnceValues(i.prepareTemplate)
	if i.run != "" { // the wrapper's
		return i, nil
	}
	i.run = server.NewRun()
	s, err := server.Start(background, server.Options{URL: i.url, Run: i.run})
	if err != nil {
		return nil, err
	}
	i.url, i.server = s.URL, s
	return i, nil
})

// use returns the server. Without one it ends the process: every test would fail with the same advice, which is given once.
func use(t testing.TB) *instance {
	t.Helper()
	i, err := shared()
	if err != nil {
		giveUp.Do(func() {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			os.Exit(1)
		})
	}
	return i
}

// giveUp holds the other tests while the process ends.
var giveUp sync.Once

// name makes a name that the end of the run knows as its own.
func (i *instance) name() string {
	return server.Prefix(i.run) + strings.ToLower(rand.Text()[:12])
}
