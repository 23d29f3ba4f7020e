package pgtest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/server"
)

// background is the context of what has to happen whether or not the test's own has ended.
var background = context.Background()

// A Database belongs to one test.
type Database struct {
	server *instance
	url    *url.URL // as the user that it is opened by
	role   bool     // that user is one of Role's, not the server's
}

// New returns a fresh database with the workflow tables in schema "workflows". It is dropped, open
// connections or not, when the test and its subtests have ended.
func New(t testing.TB) *Database {
	t.Helper()
	i := use(t)
	template, err := i.template()
	if err != nil {
		t.Fatalf("pgtest: make template: %v", err)
	}
	return create(t, i, template)
}

// Empty returns a fresh database without any table, dropped as New's.
func Empty(t testing.TB) *Database {
	t.Helper()
	return create(t, use(t), "template0")
}

func create(t testing.TB, i *instance, template string) *Database {
	t.Helper()
	name := i.name()
	t.Cleanup(func() {
		if err := i.exec("DROP DATABASE IF EXISTS " + pq.QuoteIdentifier(name) + " WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	if err := i.exec("CREATE DATABASE " + pq.QuoteIdentifier(name) + " TEMPLATE " + pq.QuoteIdentifier(template)); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	if level := os.Getenv(server.EnvDefault); level != "" {
		err := i.exec("ALTER DATABASE " + pq.QuoteIdentifier(name) +
			" SET default_transaction_isolation = " + pq.QuoteLiteral(level))
		if err != nil {
			t.Fatalf("pgtest: %s: %v", server.EnvDefault, err)
		}
	}
	u, err := i.database(name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return &Database{server: i, url: u}
}

// URL returns the database's own address, past any pooler, as superuser or as the role of [Database.Role].
func (d *Database) URL() string { return d.url.String() }

// AccessURL returns the address for an access: a pooled one leads through PgBouncer, started on first use,
// and carries the parameters that the driver needs there. Where PgBouncer is not installed the test is skipped.
func (d *Database) AccessURL(t testing.TB, a Access) string {
	t.Helper()
	u := *d.url
	params := a.Params
	if a.Pooled {
		if d.role {
			t.Fatalf("pgtest: access %s as a role: PgBouncer logs everybody in as the server's user here", a.Name)
		}
		if d.server.own {
			t.Fatalf("pgtest: access %s on a server of Alone: PgBouncer leads to the other", a.Name)
		}
		p := pooler(t, a)
		u.Host, u.User = p.Addr, url.User(d.url.User.Username())
		params = p.params(a)
	}
	query := u.Query()
	for name, value := range params {
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Open returns a pool for an access, checked by a ping and otherwise as sql.Open leaves it. It is closed
// when the test ends, before the database is dropped; closing it earlier is fine.
func (d *Database) Open(t testing.TB, a Access) *sql.DB {
	t.Helper()
	db, err := sql.Open(a.Driver, d.AccessURL(t, a))
	if err != nil {
		t.Fatalf("pgtest: open %s: %v", a.Name, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("pgtest: close %s: %v", a.Name, err)
		}
	})
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatalf("pgtest: connect by %s: %v", a.Name, err)
	}
	return db
}

// Role creates a login role without any right, runs the statements, in which {role} stands for its quoted
// name, as superuser in d, and returns d as that role sees it. The role is dropped when the test ends.
func (d *Database) Role(t testing.TB, statements ...string) *Database {
	t.Helper()
	name := d.server.name()
	role := pq.QuoteIdentifier(name)
	exec := func(statement string) error { return execute(d.URL(), statement) }
	if err := exec("CREATE ROLE " + role + " LOGIN PASSWORD " + pq.QuoteLiteral(name)); err != nil {
		t.Fatalf("pgtest: create role: %v", err)
	}
	t.Cleanup(func() {
		if err := exec("DROP OWNED BY " + role + "; DROP ROLE " + role); err != nil {
			t.Errorf("pgtest: drop role: %v", err)
		}
	})
	for _, s := range statements {
		if err := exec(strings.ReplaceAll(s, "{role}", role)); err != nil {
			t.Fatalf("pgtest: %s: %v", s, err)
		}
	}
	u := *d.url
	u.User = url.UserPassword(name, name)
	return &Database{server: d.server, url: &u, role: true}
}

// MajorVersion returns the server's major version, such as 15.
func MajorVersion(t testing.TB) int {
	t.Helper()
	var n int
	if err := query(use(t).url, "SELECT current_setting('server_version_num')::int / 10000", &n); err != nil {
		t.Fatalf("pgtest: server version: %v", err)
	}
	return n
}

// database returns the server's URL with another database in it.
func (i *instance) database(name string) (*url.URL, error) {
	u, err := url.Parse(i.url)
	if err != nil {
		return nil, fmt.Errorf("parse server URL: %w", err)
	}
	u.Path = "/" + name
	return u, nil
}

func (i *instance) exec(statement string) error { return execute(i.url, statement) }

// execute runs a statement on a connection of its own: a pool that is kept would be one more goroutine in the tests that
// look for leaked ones.
func execute(url, statement string) error {
	db, err := sql.Open(PQ.Driver, url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(background, statement)
	return err
}

// query reads the only value of one row, on a connection of its own.
func query(url, text string, dest any) error {
	db, err := sql.Open(PQ.Driver, url)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.QueryRowContext(background, text).Scan(dest)
}
