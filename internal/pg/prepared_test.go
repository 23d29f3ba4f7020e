package pg_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

type word string

type thing struct {
	N      int            `db:"n"`
	Big    int64          `db:"big"`
	Name   string         `db:"name"`
	Word   word           `db:"word"`
	Is     bool           `db:"is_so"`
	Part   float64        `db:"part"`
	Maybe  sql.NullInt64  `db:"maybe"`
	Text   sql.NullString `db:"text"`
	Doc    pg.JSONB       `db:"doc"`
	Names  pg.TextArray   `db:"names"`
	Amount int64          `db:"amount"`
}

var (
	manyTypes = pg.DefineRead("many_types", `
		SELECT n, 1::bigint << 40 AS big, 'name ' || n AS name, 'a' AS word, n > 1 AS is_so, n + 0.5::float8 AS part,
		       CASE WHEN n > 1 THEN n::bigint END AS maybe, CASE WHEN n > 1 THEN 'é' END AS text,
		       CASE WHEN n > 1 THEN '{"a": 1}'::jsonb END AS doc, ARRAY['x"', 'y'] AS names, sum(n) OVER () AS amount
		FROM generate_series(1, $1::int) AS g(n) ORDER BY n`)
	untilZero = pg.DefineRead("until_zero", `SELECT 10 / (2 - n) FROM generate_series(1, $1::int) AS g(n)`)
	aNull     = pg.DefineRead("a_null", `SELECT NULL::text WHERE $1::int > 0`)
	tooMany   = pg.DefineRead("too_many", `SELECT $1::int AS n, 1 AS other`)
	readAll   = pg.DefineRead("read_all", `SELECT n FROM things ORDER BY 1`)
	inferred  = pg.Define("inferred", `INSERT INTO things (n) VALUES ($1)`)
	nothing   = pg.DefineRead("nothing", `SELECT 1 WHERE $1::int = 0`)
	sleep     = pg.DefineRead("sleep", `SELECT 'slept' FROM pg_sleep($1::int)`)
)

// What is read by a prepared statement is what database/sql and sqlx read, errors included.
func TestPreparedReadsTheSame(t *testing.T) {
	t.Parallel()
	db, _ := pqThings(t, pgtest.PQ)
	prepared := pg.New(db, pg.Options{Timeout: kit.Patience})
	plain := pg.New(db, pg.Options{Statements: pg.InTx, Timeout: kit.Patience})
	for range 2 { // the second time it is known
		for _, rows := range []int{0, 1, 2, 100} {
			got, want := []thing{{Name: "there before"}}, []thing{{Name: "there before"}}
			kit.Must(t, prepared.List(t.Context(), &got, manyTypes, rows))
			kit.Must(t, plain.List(t.Context(), &want, manyTypes, rows))
			if diff := cmp.Diff(want, got); diff != "" || len(got) != rows {
				t.Errorf("%d rows (-sqlx +prepared):\n%s", len(got), diff)
			}
			var one, wantOne thing
			err, wantErr := prepared.Get(t.Context(), &one, manyTypes, rows), plain.Get(t.Context(), &wantOne, manyTypes, rows)
			if !errors.Is(err, wantErr) {
				t.Errorf("get of %d rows: %v, want %v", rows, err, wantErr)
			}
			if diff := cmp.Diff(wantOne, one); diff != "" {
				t.Errorf("get of %d rows (-sqlx +prepared):\n%s", rows, diff)
			}
		}
		var n int
		var s string
		kit.WantIs(t, prepared.Get(t.Context(), &n, nothing, 1), sql.ErrNoRows)
		for name, err := range map[string]error{
			"NULL for a string":   prepared.Get(t.Context(), &s, aNull, 1),
			"two columns for one": prepared.Get(t.Context(), &n, tooMany, 1),
			"a column too many": prepared.Get(t.Context(), &struct {
				N int `db:"n"`
			}{}, tooMany, 1),
			"too few arguments":    prepared.Get(t.Context(), &s, aNull),
			"a text for a number":  prepared.Get(t.Context(), &s, aNull, "x"),
			"no text of arguments": prepared.Get(t.Context(), &s, aNull, make(chan int)),
		} {
			if err == nil || errors.Is(err, sql.ErrNoRows) {
				t.Errorf("%s: %v, want an error", name, err)
			}
		}
		if err := prepared.Get(t.Context(), &n, untilZero, 2); pg.SQLState(err) != "22012" {
			t.Errorf("a row, then a division by zero: %v", err)
		}
	}
}

// Somebody forgets the statements of a connection, or changes the type of what they return: they are prepared again.
func TestPreparedAgain(t *testing.T) {
	t.Parallel()
	db, w := pqThings(t, pgtest.PQ)
	db.SetMaxOpenConns(1)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	_, err := st.Exec(t.Context(), writeOne, 7)
	kit.Must(t, err)
	all := func() (words []string) {
		t.Helper()
		kit.Must(t, st.List(t.Context(), &words, readAll))
		return words
	}
	type text = []string
	var numbers []int
	kit.Must(t, st.List(t.Context(), &numbers, readAll))
	for _, change := range []string{
		`DEALLOCATE ALL`, `DISCARD ALL`, `ALTER TABLE things ALTER n TYPE text`,
		`ALTER TABLE things RENAME TO others; CREATE TABLE things AS SELECT 'new ' || n AS n FROM others`,
	} {
		kit.Exec(t, db, change)
		want := text{"7"}
		switch {
		case change[0] == 'D':
			numbers = nil
			kit.Must(t, st.List(t.Context(), &numbers, readAll))
			if diff := cmp.Diff([]int{7}, numbers); diff != "" {
				t.Errorf("%s (-want +got):\n%s", change, diff)
			}
			continue
		case change != `ALTER TABLE things ALTER n TYPE text`:
			want = text{"new 7"}
		}
		if diff := cmp.Diff(want, all()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", change, diff)
		}
	}
	w.Sent()
	all()
	if n := w.Sent(); n != 1 {
		t.Errorf("%d round trips, want 1: it is prepared", n)
	}
	if opened := w.Opened(); opened != 1 {
		t.Errorf("%d connections", opened)
	}
}

// The text of a statement means something else now, and its parameters have other types: it is prepared again.
func TestPreparedForOtherTypes(t *testing.T) {
	t.Parallel()
	db, w := pqThings(t, pgtest.PQ)
	db.SetMaxOpenConns(1)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	changes := []string{`ALTER TABLE things ALTER n TYPE text`, `ALTER TABLE things ALTER n TYPE int USING n::int`}
	for _, change := range changes {
		kit.Exec(t, db, change)
		if _, err := st.Exec(t.Context(), inferred, "7"); err != nil {
			t.Fatalf("%s: %v", change, err)
		}
	}
	if n := kit.One[int](t, db, `SELECT count(*) FROM things`); n != len(changes) || w.Opened() != 1 {
		t.Errorf("%d rows, want %d, on %d connections", n, len(changes), w.Opened())
	}
	kit.Exec(t, db, `ALTER TABLE things RENAME TO gone`)
	_, err := st.Exec(t.Context(), inferred, "7")
	wantAdvice(t, pg.Problem("write", err), "42P01", "migrate up")
	kit.Exec(t, db, `ALTER TABLE gone RENAME TO things`)
	_, err = st.Exec(t.Context(), inferred, "7")
	kit.Must(t, err)
}

// What the server keeps is bounded.
func TestPreparedAreBounded(t *testing.T) {
	t.Parallel()
	db, _ := pqThings(t, pgtest.PQ)
	db.SetMaxOpenConns(1)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	const more = 230
	for i := range more {
		var n int
		kit.Must(t, st.Get(t.Context(), &n, numbered[i], 1))
		if n != i+1 {
			t.Fatalf("%d, want %d", n, i+1)
		}
	}
	if n := kit.One[int](t, db, `SELECT count(*) FROM pg_prepared_statements`); n < 100 || n > 200 {
		t.Errorf("%d of %d statements are kept", n, more)
	}
}

var numbered = func() (all [230]*pg.Query) {
	for i := range all {
		all[i] = pg.DefineRead("numbered", fmt.Sprintf(`SELECT $1::int + %d`, i))
	}
	return all
}()

// A statement whose caller has gone is cancelled, and its connection is not used again: lib/pq's cancellation may come late.
func TestPreparedIsCancelled(t *testing.T) {
	t.Parallel()
	db, w := pqThings(t, pgtest.PQ)
	db.SetMaxOpenConns(1)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	var got string
	kit.Must(t, st.Get(t.Context(), &got, sleep, 0))
	ctx, cancel := context.WithCancel(t.Context())
	side := pgtest.Empty(t).Open(t, pgtest.PGX)
	pid := kit.One[int](t, db, `SELECT pg_backend_pid()`)
	failed := kit.Go(t, func() error { return st.Get(ctx, &got, sleep, 600) })
	kit.Until(t, "the server sleeps", func() bool {
		return kit.One[int](t, side, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'`, pid) == 1
	})
	cancel()
	kit.WantIs(t, kit.Receive(t, "the answer", failed), context.Canceled)
	opened := w.Opened() // one more for the cancellation
	kit.Must(t, st.Get(t.Context(), &got, sleep, 0))
	if n := w.Opened(); n != opened+1 {
		t.Errorf("%d connections were opened, want a new one", n-opened)
	}
}
