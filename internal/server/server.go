// Package server finds or starts the PostgreSQL of a test run or a demo, and a PgBouncer in front of it.
//
// What it starts belongs to a supervisor: this executable once more, in a session of its own, holding the
// read end of a pipe whose write end the starting process keeps. The kernel closes that pipe however the
// process ends (return, panic, test timeout, Ctrl-C, kill -9); the supervisor then stops the server or removes
// the container and deletes the temporary directory. On a server that was handed in by URL it drops the run's
// databases and roles instead.
//
// Importing this package is what makes the re-execution work: see init in supervisor.go.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// The environment that decides which server is used. Tests and the wrapper command read the same names.
const (
	EnvTestURL = "TEST_DATABASE_URL" // server for tests: URL of a superuser
	EnvDemoURL = "DATABASE_URL"      // database for the demo
	EnvSource  = "PGTEST_SERVER"     // docker or local: that source only
	EnvBin     = "PGTEST_BIN"        // directory of PostgreSQL's programs, preferred to Docker
	EnvVersion = "PGTEST_VERSION"    // major version that the server must have; the wrapper fetches it
	EnvImage   = "PGTEST_IMAGE"      // Docker image
	EnvPooler  = "PGTEST_PGBOUNCER"  // path of the pgbouncer program
	EnvRun     = "PGTEST_RUN"        // set by the wrapper: it owns the server at TEST_DATABASE_URL
	EnvFull    = "PGTEST_FULL"       // 1: full matrix
	EnvSoak    = "PGTEST_SOAK"       // 1: sizes that take minutes
	EnvDefault = "PGTEST_ISOLATION"  // default isolation of every database, such as serializable
)

// ErrNone is returned when there is no server and nothing to start one from.
var ErrNone = errors.New("no PostgreSQL found: install one (Debian: apt-get install postgresql; or " + EnvBin + "=dir of its programs), " +
	"start a Docker daemon, or name a server by " + EnvTestURL + "=postgres://superuser:password@host:5432/postgres (the demo: " + EnvDemoURL + ")")

// startTimeout bounds everything between the request and a server that answers, an image's download included.
const startTimeout = 5 * time.Minute

// Options say what to start.
type Options struct {
	// URL of a server that exists already. Empty: find or start one.
	URL string
	// Run marks the names of the databases and roles that tests create: pgtest_<run>_….
	Run string
	// Durable keeps fsync on, for what must survive a crash of the machine. Tests of logic are faster without.
	Durable bool
	// Settings are further ones of a server that is started, as name=value.
	Settings []string
	// Dir keeps the data, from one start to the next; it is made at the first. Only programs of this machine keep data, no container.
	// Empty: the data goes with the server.
	Dir string
	// Port on 127.0.0.1 of a server that is started. 0: a free one.
	Port int
}

// A Server is a PostgreSQL that answers until Close, or until this process ends in any way.
type Server struct {
	// URL of the maintenance database, as superuser.
	URL string
	// Source tells where the server comes from: "external", "docker image" or "local dir".
	Source string
	// Version as the server reports it, such as "15.18 (Debian 15.18-0+deb12u1)".
	Version string
	// Notes are sources that were tried before and why they did not serve.
	Notes []string

	guard *guard
}

// Start finds or starts a server, in the order: o.URL, a Docker daemon, PostgreSQL's programs.
// EnvBin puts the programs before Docker, EnvSource allows one source only. The error is ErrNone when nothing is there.
func Start(ctx context.Context, o Options) (*Server, error) {
	g, r, err := launch(ctx, job{Options: o})
	if err != nil {
		return nil, err
	}
	if want := os.Getenv(EnvVersion); want != "" && major(r.Version) != want {
		err := fmt.Errorf("%s=%s, but this is PostgreSQL %s, %s; make and with-postgres fetch the version", EnvVersion, want, r.Version, r.Source)
		return nil, errors.Join(err, g.close())
	}
	return &Server{URL: r.URL, Source: r.Source, Version: r.Version, Notes: r.Notes, guard: g}, nil
}

// major returns the first number of a version such as "15.18 (Debian 15.18-0+deb12u1)" or "18beta1".
func major(version string) string {
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return version
	}
	return version[:end]
}

// guardGroup names a process group that must not outlive this process: should it be killed, the supervisor ends
// the group before the server. 0 ends the guard.
func (s *Server) guardGroup(group int) error {
	if _, err := fmt.Fprintln(s.guard.line, group); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	return nil
}

// Close takes the server down, or drops the run's databases on an external one, and waits for it.
func (s *Server) Close() error { return s.guard.close() }

// A Pooler is a PgBouncer in transaction mode in front of a server; any database name is passed through.
// Everybody is logged in as the server URL's user.
type Pooler struct {
	// Addr is host:port.
	Addr string

	guard *guard
}

// StartPooler starts PgBouncer in front of the server at url, in one of its pool modes: session, transaction or statement. It
// lives as long as a Server does.
func StartPooler(ctx context.Context, url, mode string) (*Pooler, error) {
	g, r, err := launch(ctx, job{Upstream: url, PoolMode: mode})
	if err != nil {
		return nil, err
	}
	return &Pooler{Addr: r.URL, guard: g}, nil
}

// Close stops the pooler.
func (p *Pooler) Close() error { return p.guard.close() }

// NewRun returns a name for a run that no other has.
func NewRun() string { return strings.ToLower(rand.Text()[:10]) }
