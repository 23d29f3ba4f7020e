package workflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// encoded returns a bench on a database with the tables and another encoding than UTF8.
func encoded(t *testing.T, access pgtest.Access, encoding string) *bench {
	t.Helper()
	beside := pgtest.Empty(t)
	admin := beside.Open(t, pgtest.PGX)
	u, err := url.Parse(beside.AccessURL(t, access))
	kit.Must(t, err)
	name := strings.TrimPrefix(u.Path, "/") + "_encoded"
	kit.Exec(t, admin, fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C'", name, encoding))
	t.Cleanup(func() { kit.Exec(t, admin, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)) })
	u.Path = "/" + name
	db, err := sql.Open(access.Driver, u.String())
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	b := &bench{t: t, db: db, lease: calmLease}
	b.svc = b.service()
	kit.Must(t, b.svc.Init(t.Context()))
	return b
}

// role makes the bench's pool that of a role with the rights that docs/operations.md lists. The statements are those of
// [pgtest.Database.Role].
func (b *bench) role(statements ...string) (admin *sql.DB) {
	b.t.Helper()
	admin = b.db
	statements = append([]string{
		"GRANT USAGE ON SCHEMA workflows TO {role}",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA workflows TO {role}",
		"GRANT ALL ON TABLE effects TO {role}",
	}, statements...)
	b.db = b.pg.Role(b.t, statements...).Open(b.t, pgtest.PGX)
	b.svc = b.service()
	return admin
}

// A barrier lets n callers go on together, so that what they write next is written together.
type barrier struct {
	n     int
	ready chan struct{}
	open  chan struct{}
}

func newBarrier(n int) *barrier {
	return &barrier{n: n, ready: make(chan struct{}, n), open: make(chan struct{})}
}

func (b *barrier) wait(ctx context.Context) {
	b.ready <- struct{}{}
	select {
	case <-b.open:
	case <-ctx.Done():
	}
}

// release waits until all are there and opens.
func (b *barrier) release(t *testing.T) {
	t.Helper()
	for range b.n {
		kit.Receive(t, "everybody is at the barrier", b.ready)
	}
	close(b.open)
}

// refuses makes the database refuse rows of a table as an application's trigger would, and counts how often it does.
func (b *bench) refuses(on *sql.DB, table, events, condition string) (refused func() int) {
	b.t.Helper()
	kit.Exec(b.t, on, fmt.Sprintf(`
		CREATE SEQUENCE refused MINVALUE 0 START 0;
		SELECT nextval('refused');
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			PERFORM nextval('refused');
			RAISE EXCEPTION 'refused by the application';
		END $$;
		CREATE TRIGGER refuse BEFORE %s ON workflows.%s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION refuse()`,
		events, table, condition))
	return func() int { return kit.One[int](b.t, on, "SELECT last_value FROM refused") }
}

// bad tells the runs that the database refuses from the others, by their input.
func bad(n int) bool { return n%10 == 3 }

// startAll starts a run for each number.
func startAll(t *testing.T, svc *workflow.Service, w *workflow.Workflow[int, int], n int) []*workflow.Handle[int] {
	t.Helper()
	handles := make([]*workflow.Handle[int], n)
	for _, err := range kit.Together(n, func(i int) (err error) {
		handles[i], err = w.Start(context.Background(), svc, i)
		return err
	}) {
		kit.Must(t, err)
	}
	return handles
}

type result struct {
	n   int
	err error
}

// results waits for all runs at once, as long as they might take together.
func results(t *testing.T, handles []*workflow.Handle[int]) []result {
	t.Helper()
	soon, ended := kit.Within(t, busy), make([]result, len(handles))
	kit.Together(len(handles), func(i int) error {
		ended[i].n, ended[i].err = handles[i].Result(soon)
		return nil
	})
	return ended
}
