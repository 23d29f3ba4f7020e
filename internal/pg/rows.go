package pg

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/jmoiron/sqlx/reflectx"
)

// A cursor goes through the rows of a prepared statement as sql.Rows does.
type cursor struct {
	rows   driver.Rows
	values []driver.Value
	err    error
	closed bool
}

func newCursor(rows driver.Rows) *cursor {
	return &cursor{rows: rows, values: make([]driver.Value, len(rows.Columns()))}
}

func (c *cursor) Next() bool {
	err := c.rows.Next(c.values)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return err == nil
}

func (c *cursor) Err() error { return c.err }

// Close may be called again, which lib/pq's own would not return from.
func (c *cursor) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	return c.rows.Close()
}

func (c *cursor) Scan(dest ...any) error {
	if len(dest) != len(c.values) {
		return fmt.Errorf("%d columns for %d variables", len(c.values), len(dest))
	}
	for i, into := range dest {
		if err := assign(reflect.ValueOf(into).Elem(), c.values[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

// readOne reads the first row into dest; sql.ErrNoRows when there is none. The others are passed, for an error may follow them.
func readOne(rows *cursor, dest any) error {
	found, into := false, reflect.ValueOf(dest).Elem()
	err := readRows(rows, into.Type(), func(row row) error {
		if found {
			return nil
		}
		found = true
		return row.read(into)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// readAll makes the rows the elements of the slice that dest points to, in place of those which it has.
func readAll(rows *cursor, dest any) error {
	slice := reflect.ValueOf(dest).Elem()
	slice.SetLen(0)
	return readRows(rows, slice.Type().Elem(), func(row row) error {
		slice.Grow(1)
		slice.SetLen(slice.Len() + 1)
		last := slice.Index(slice.Len() - 1)
		last.SetZero()
		return row.read(last)
	})
}

// readRows calls each for every row, and closes rows.
func readRows(rows *cursor, of reflect.Type, each func(row) error) (err error) {
	defer func() {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}()
	r, err := newRow(of, rows.rows.Columns(), rows.values)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A row is one row's values, and the fields of a struct that they are for; none for what takes a row's only value.
type row struct {
	columns []string
	fields  [][]int
	values  []driver.Value
}

func newRow(of reflect.Type, columns []string, values []driver.Value) (row, error) {
	r := row{columns: columns, values: values}
	if of.Kind() != reflect.Struct || reflect.PointerTo(of).Implements(scanner) {
		if len(columns) != 1 {
			return r, fmt.Errorf("%d columns for one %s", len(columns), of)
		}
		return r, nil
	}
	r.fields = ours.TraversalsByName(of, columns)
	for i, field := range r.fields {
		if len(field) == 0 {
			return r, fmt.Errorf("%s has no field for column %s", of, columns[i])
		}
	}
	return r, nil
}

func (r row) read(into reflect.Value) error {
	if r.fields == nil {
		return assign(into, r.values[0])
	}
	for i, value := range r.values {
		if err := assign(reflectx.FieldByIndexes(into, r.fields[i]), value); err != nil {
			return fmt.Errorf("column %s: %w", r.columns[i], err)
		}
	}
	return nil
}

var scanner = reflect.TypeFor[sql.Scanner]()

// assign puts a value of lib/pq's into a variable of the few types that rows are read into. What does not fit is an error.
func assign(into reflect.Value, value driver.Value) error {
	if s, ok := into.Addr().Interface().(sql.Scanner); ok {
		return s.Scan(value)
	}
	switch v := value.(type) {
	case string:
		return assignText(into, v)
	case []byte: // types that lib/pq does not know
		return assignText(into, string(v))
	case int64:
		if into.CanInt() && !into.OverflowInt(v) {
			into.SetInt(v)
			return nil
		}
	case bool:
		if into.Kind() == reflect.Bool {
			into.SetBool(v)
			return nil
		}
	case float64:
		if into.CanFloat() {
			into.SetFloat(v)
			return nil
		}
	}
	return fmt.Errorf("a %T does not fit into a %s", value, into.Type())
}

func assignText(into reflect.Value, text string) error {
	switch {
	case into.Kind() == reflect.String:
		into.SetString(text)
		return nil
	case into.CanInt(): // numeric, perhaps
		n, err := strconv.ParseInt(text, 10, into.Type().Bits())
		into.SetInt(n)
		return err
	case into.CanFloat():
		f, err := strconv.ParseFloat(text, into.Type().Bits())
		into.SetFloat(f)
		return err
	default:
		return fmt.Errorf("a text does not fit into a %s", into.Type())
	}
}
