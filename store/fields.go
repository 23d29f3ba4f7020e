package store

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// fields are the values of a row, in the order of kind.fields: the arguments of a statement that writes it alone, or
// elements of array literals, one behind the other, for one that writes it with others. That second form is made anew for
// each row in the same memory: it is on the way of every row to the server.
type fields struct {
	arguments []any
	elements  []byte
	ends      []int // of the elements; nil for arguments
}

func (f *fields) reset() { f.elements, f.ends = f.elements[:0], f.ends[:0] }

func arguments(w Write) []any {
	f := fields{arguments: make([]any, 0, 12)} // as many as most kinds have
	w.fill(&f)
	return f.arguments
}

func (f *fields) end() { f.ends = append(f.ends, len(f.elements)) }

func (f *fields) null() {
	if f.ends == nil {
		f.arguments = append(f.arguments, nil)
		return
	}
	f.elements = append(f.elements, "NULL"...)
	f.end()
}

func (f *fields) text(s string) {
	if f.ends == nil {
		f.arguments = append(f.arguments, s)
		return
	}
	f.elements = pg.AppendText(f.elements, s)
	f.end()
}

// textOrNull is NULL for "".
func (f *fields) textOrNull(s string) {
	if s == "" {
		f.null()
		return
	}
	f.text(s)
}

func (f *fields) number(n int64) {
	if f.ends == nil {
		f.arguments = append(f.arguments, n)
		return
	}
	f.elements = pg.AppendNumber(f.elements, n)
	f.end()
}

// numberOrNull is NULL for 0.
func (f *fields) numberOrNull(n int) {
	if n == 0 {
		f.null()
		return
	}
	f.number(int64(n))
}

func (f *fields) flag(set bool) {
	if f.ends == nil {
		f.arguments = append(f.arguments, set)
		return
	}
	f.elements = strconv.AppendBool(f.elements, set)
	f.end()
}

// duration is in milliseconds, and NULL for nil.
func (f *fields) duration(d *time.Duration) {
	if d == nil {
		f.null()
		return
	}
	f.number(d.Milliseconds())
}

// json is NULL for nil.
func (f *fields) json(payload json.RawMessage) {
	switch {
	case f.ends == nil:
		f.arguments = append(f.arguments, pg.JSON(payload))
	case payload == nil:
		f.null()
	default:
		f.elements = pg.AppendText(f.elements, payload)
		f.end()
	}
}
