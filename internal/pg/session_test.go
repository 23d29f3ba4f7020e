package pg_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/internal/server"
)

var (
	readOne  = pg.DefineRead("read_one", `SELECT 1`)
	writeOne = pg.Define("write_one", `INSERT INTO things VALUES ($1::int)`)
	create   = pg.Define("create", `CREATE TABLE things (n int)`)
	slow     = pg.Define("slow", `SELECT pg_sleep(30)`)
	backend  = pg.Define("backend", `SELECT pg_backend_pid()`)
)

var modes = map[string]pg.Statements{"single": pg.Single, "in transactions": pg.InTx}

// each runs a test for both drivers and in both modes, on a database with a table.
func each(t *testing.T, test func(t *testing.T, database *pgtest.Database, db *sql.DB, mode pg.Statements)) {
	t.Helper()
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		for name, mode := range modes {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				database := pgtest.Empty(t)
				db := database.Open(t, access)
				kit.Exec(t, db, `CREATE TABLE things (n int)`)
				test(t, database, db, mode)
			})
		}
	}
}

// Connections that the server has closed while they lay in the pool are replaced, however many there are.
func TestBrokenConnections(t *testing.T) {
	each(t, func(t *testing.T, database *pgtest.Database, db *sql.DB, mode pg.Statements) {
		const many = 8
		db.SetMaxIdleConns(many)
		var conns []*sql.Conn
		for range many {
			conn, err := db.Conn(t.Context())
			kit.Must(t, err)
			kit.Must(t, conn.PingContext(t.Context()))
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			kit.Must(t, conn.Close())
		}
		side := database.Open(t, pgtest.PQ)
		kit.Exec(t, side, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		kit.Until(t, "the sessions are gone", func() bool {
			return kit.One[int](t, side, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()`) <= 1
		})
		st := pg.New(db, pg.Options{Statements: mode, Timeout: kit.Patience})
		n, err := st.Exec(t.Context(), writeOne, 1)
		if err != nil || n != 1 {
			t.Fatalf("wrote %d rows, %v", n, err)
		}
		if n := kit.One[int](t, db, `SELECT count(*) FROM things`); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	})
}

// A connection that leads to a server which has become read-only is thrown away, and another one tried.
func TestReadOnlyConnection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		access pgtest.Access
		mode   pg.Statements
	}{
		"pgx, single":          {pgtest.PGX, pg.Single},
		"pgx, in transactions": {pgtest.PGX, pg.InTx}, // lib/pq's BEGIN asks for READ WRITE
		"lib/pq":               {pgtest.PQ, pg.Auto},
		"lib/pq, binary":       {pgtest.PQBinary, pg.Auto},
		"lib/pq, single":       {pgtest.PQ, pg.Single},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, test.access)
			db.SetMaxOpenConns(1)
			kit.Exec(t, db, `CREATE TABLE things (n int)`)
			st := pg.New(db, pg.Options{Statements: test.mode, Timeout: kit.Patience})
			var before, after int
			kit.Must(t, st.Get(t.Context(), &before, backend))
			kit.Exec(t, db, `SET default_transaction_read_only = on`)
			_, err := st.Exec(t.Context(), writeOne, 1)
			kit.Must(t, err)
			kit.Must(t, st.Get(t.Context(), &after, backend))
			if before == after {
				t.Error("the read-only connection is still there")
			}
			kit.Exec(t, db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
			kit.Exec(t, db, `SET default_transaction_read_only = on`)
			_, err = st.Exec(t.Context(), writeOne, 1)
			if test.access.Driver == pgtest.PQ.Driver && test.mode == pg.Auto {
				kit.Must(t, err) // its new connections are found to be read-only unless told, and told
				return
			}
			wantAdvice(t, pg.Problem("write", err), "25006", "target_session_attrs")
			if pg.IsPermanent(err) {
				t.Error("a standby is no permanent error")
			}
		})
	}
}

// A standby answers what only reads, and says of what writes where it should have gone.
func TestStandby(t *testing.T) {
	bin, err := server.Programs()
	if err != nil {
		t.Skipf("NOT RUN: standby: %v", err)
	}
	dir, err := os.MkdirTemp("", "pgtest-standby-")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, script := range map[string]string{
		"initdb":   "#!/bin/sh\n'" + bin + "/initdb' \"$@\" && touch \"$2/standby.signal\"\n",
		"postgres": "#!/bin/sh\nexec '" + bin + "/postgres' \"$@\"\n",
	} {
		kit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	kit.Must(t, os.Chmod(dir, 0o755)) // the server runs as another user when we are root
	t.Setenv(server.EnvBin, dir)
	t.Setenv(server.EnvSource, "local")
	standby, err := server.Start(t.Context(), server.Options{Run: server.NewRun()})
	kit.Must(t, err)
	t.Cleanup(func() { _ = standby.Close() })
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		for name, mode := range map[string]pg.Statements{"auto": pg.Auto, "single": pg.Single, "in transactions": pg.InTx} {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				db, err := sql.Open(access.Driver, standby.URL)
				kit.Must(t, err)
				defer db.Close()
				st := pg.New(db, pg.Options{Statements: mode, Timeout: kit.Patience})
				var n int
				if err := st.Get(t.Context(), &n, readOne); err != nil || n != 1 {
					t.Errorf("read %d, %v", n, err)
				}
				_, err = st.Exec(t.Context(), create)
				wantAdvice(t, pg.Problem("write", err), "25006", "target_session_attrs")
				err = st.Transact(t.Context(), sql.LevelReadCommitted, func(tx *pg.DB) error {
					_, err := tx.Tx().Exec(`CREATE TABLE things (n int)`)
					return err
				})
				wantAdvice(t, pg.Problem("write", err), "25006", "target_session_attrs")
			})
		}
	}
}

// A pool that is exhausted is told as such, by name: nothing was sent. A server that does not answer is another matter.
func TestExhaustedPool(t *testing.T) {
	each(t, func(t *testing.T, database *pgtest.Database, db *sql.DB, mode pg.Statements) {
		db.SetMaxOpenConns(1)
		conn, err := db.Conn(t.Context())
		kit.Must(t, err)
		st := pg.New(db, pg.Options{Statements: mode, Timeout: 100 * time.Millisecond})
		_, err = st.Exec(t.Context(), writeOne, 1)
		for what, err := range map[string]error{"a call": err, "a call given up by its caller": st.TimedOut(time.Second)} {
			if !errors.Is(err, pg.ErrNoConnection) || !errors.Is(err, pg.ErrTimeout) || strings.Contains(err.Error(), pg.ErrTimeout.Error()) ||
				!strings.Contains(err.Error(), "SetMaxOpenConns") {
				t.Errorf("%s: %v, want the pool named, not the server", what, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = st.Exec(ctx, writeOne, 1)
		if !errors.Is(err, context.Canceled) || errors.Is(err, pg.ErrTimeout) {
			t.Errorf("%v, want the caller's own end", err)
		}
		kit.Must(t, conn.Close())

		holder := kit.Begin(t, database.Open(t, pgtest.PQ))
		kit.Exec(t, holder, `LOCK TABLE things`)
		_, err = st.Exec(t.Context(), writeOne, 1)
		if !errors.Is(err, pg.ErrTimeout) || errors.Is(err, pg.ErrNoConnection) {
			t.Errorf("%v, want an answer that did not come", err)
		}
	})
}

// bareConn hides what a driver's connection can do besides the least.
type bareConn struct{ conn driver.Conn }

func (c bareConn) Prepare(query string) (driver.Stmt, error) { return c.conn.Prepare(query) }
func (c bareConn) Close() error                              { return c.conn.Close() }

//nolint:staticcheck // the old method is all that it has
func (c bareConn) Begin() (driver.Tx, error) { return c.conn.Begin() }

type bareConnector struct {
	driver driver.Driver
	dsn    string
}

func (c bareConnector) Driver() driver.Driver { return c.driver }
func (c bareConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	return bareConn{conn}, err
}

// A wrapping driver that lacks a method is told which, and single statements work.
func TestDriverWithoutBeginTx(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	plain := database.Open(t, pgtest.PQ)
	kit.Exec(t, plain, `CREATE TABLE things (n int)`)
	db := sql.OpenDB(bareConnector{plain.Driver(), database.AccessURL(t, pgtest.PQ)})
	t.Cleanup(func() { db.Close() })
	_, err := pg.New(db, pg.Options{Timeout: kit.Patience}).Exec(t.Context(), writeOne, 1)
	if err == nil || !strings.Contains(err.Error(), "driver.ConnBeginTx") {
		t.Errorf("%v, want the missing method named", err)
	}
	if n, err := pg.New(db, pg.Options{Statements: pg.Single, Timeout: kit.Patience}).Exec(t.Context(), writeOne, 1); err != nil || n != 1 {
		t.Errorf("single: wrote %d rows, %v", n, err)
	}
}

func wantAdvice(t *testing.T, err error, state, advice string) {
	t.Helper()
	if pg.SQLState(err) != state || !strings.Contains(err.Error(), advice) {
		t.Errorf("%v: want SQLSTATE %s and the advice %q", err, state, advice)
	}
}
