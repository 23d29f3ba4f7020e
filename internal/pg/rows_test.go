package pg

import (
	"database/sql/driver"
	"io"
	"testing"
)

type fakeRows struct{ closed int }

func (*fakeRows) Columns() []string         { return []string{"n", "m"} }
func (*fakeRows) Next([]driver.Value) error { return io.EOF }
func (r *fakeRows) Close() error {
	r.closed++
	return nil
}

// lib/pq's rows must be closed once: a second time they wait for ever, if their context can end.
func TestCursorIsClosedOnce(t *testing.T) {
	t.Parallel()
	var rows fakeRows
	c := newCursor(&rows)
	var n, m, o int
	if c.Scan(&n) == nil || c.Scan(&n, &m, &o) == nil {
		t.Error("two columns were read into one variable, or three")
	}
	for range 2 {
		if c.Next() || c.Err() != nil || c.Close() != nil {
			t.Error("an end of rows is no error")
		}
	}
	if rows.closed != 1 {
		t.Errorf("closed %d times", rows.closed)
	}
}
