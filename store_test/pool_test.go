package store_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A pool that was handed in belongs to the application: it is neither tuned nor closed.
func TestSharedPoolStaysTheApplications(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.db.SetMaxOpenConns(7)
		b.db.SetMaxIdleConns(6)
		svc, err := workflow.New(workflow.Config{DB: b.db})
		kit.Must(t, err)
		kit.Must(t, svc.Init(t.Context()))
		for _, err := range kit.Together(20, func(int) error {
			_, err := svc.CreateRun(t.Context(), "w", 1)
			return err
		}) {
			kit.Must(t, err)
		}
		kit.Must(t, svc.Close())

		kit.WantIs(t, svc.Init(t.Context()), workflow.ErrClosed)
		kit.Must(t, b.db.PingContext(t.Context()))
		if n := b.db.Stats().MaxOpenConnections; n != 7 {
			t.Errorf("MaxOpenConnections = %d, want 7", n)
		}
		openConns(t, b.db, 6)
		if n := b.db.Stats().Idle; n != 6 {
			t.Errorf("%d connections are kept when idle, want 6", n)
		}
		// Another service on the same pool is not affected.
		b.newRun(t)
	})
}

// A pool that New opened is closed by Close, connections and all.
func TestOwnPool(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		database := pgtest.Empty(t)
		side := database.Open(t, pgtest.PQ)
		for form, dsn := range map[string]string{
			"url": database.AccessURL(t, access), "keywords": keywords(t, database.AccessURL(t, access)),
		} {
			t.Run(form, func(t *testing.T) {
				name := "own_" + form
				if strings.Contains(dsn, "?") {
					dsn += "&application_name=" + name
				} else {
					dsn += " application_name=" + name
				}
				svc, err := workflow.New(workflow.Config{DSN: dsn, Driver: access.Driver})
				kit.Must(t, err)
				kit.Must(t, svc.Init(t.Context()))
				for _, err := range kit.Together(5, func(int) error {
					_, err := svc.CreateRun(t.Context(), "w", map[string]string{"a": "b"})
					return err
				}) {
					kit.Must(t, err)
				}
				page, err := svc.ListRuns(t.Context(), workflow.RunFilter{Limit: 5})
				kit.Must(t, err)
				if len(page.Runs) != 5 {
					t.Errorf("%d runs, want 5", len(page.Runs))
				}

				conns := func() int {
					return kit.One[int](t, side, `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1`, name)
				}
				if n := conns(); n == 0 {
					t.Error("no connection has the DSN's application_name")
				}
				kit.Must(t, svc.Close())
				kit.Must(t, svc.Close())
				if !access.Pooled { // a pooler keeps its connections
					kit.Until(t, "end of the connections", func() bool { return conns() == 0 })
				}
				_, err = svc.CreateRun(t.Context(), "w", 1)
				kit.WantIs(t, err, workflow.ErrClosed)
			})
		}
	})
}

// keywords is the other form of a connection string.
func keywords(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	kit.Must(t, err)
	list := []string{"host=" + u.Hostname(), "port=" + u.Port(), "dbname=" + strings.TrimPrefix(u.Path, "/"), "user=" + u.User.Username()}
	if password, set := u.User.Password(); set {
		list = append(list, "password="+password)
	}
	for key, values := range u.Query() {
		list = append(list, key+"="+values[0])
	}
	return strings.Join(list, " ")
}

// New does no I/O: a server that is not there is found by Init, which names the step that failed.
func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"postgres", "pgx"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			svc, err := workflow.New(workflow.Config{DSN: "postgres://me:secret@127.0.0.1:1/none?sslmode=disable", Driver: driver})
			kit.Must(t, err)
			defer svc.Close()
			err = svc.Init(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "workflow: connect: ") || strings.Contains(err.Error(), "secret") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// A database without the tables is a clear error, which says what to do.
func TestTablesThatAreNotThere(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := on(t, pgtest.Empty(t), access)
		for name, call := range calls {
			err := call(t.Context(), b.svc.State, "x", "s")
			// 08P01: PgBouncer from 1.21 on, of a statement that was refused on this connection before.
			code := kit.SQLState(err)
			if err == nil || !strings.Contains(err.Error(), "Init") || code != "42P01" && (code != "08P01" || !access.Pooled) {
				t.Errorf("%s: error = %v, want SQLSTATE 42P01 and the advice to call Init", name, err)
			}
		}
	})
}

// Reading is possible, with an error that names the grants, for a role without rights.
func TestRoleWithoutRights(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	role := database.Role(t, `GRANT USAGE ON SCHEMA workflows TO {role}`, `GRANT SELECT ON ALL TABLES IN SCHEMA workflows TO {role}`)
	db, err := sql.Open("postgres", role.URL())
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	_, err = svc.GetRun(t.Context(), "x")
	kit.WantIs(t, err, workflow.ErrRunNotFound)
	_, err = svc.CreateRun(t.Context(), "w", 1)
	if kit.SQLState(err) != "42501" || !strings.Contains(err.Error(), "GRANT") {
		t.Errorf("error = %v, want SQLSTATE 42501 and the advice about GRANTs", err)
	}
}
