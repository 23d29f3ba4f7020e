package store

import (
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// What a statement's arguments are made of: strings, int64s and nil for NULL, which every driver sends alike.

// text is NULL for "".
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// number is NULL for 0.
func number(n int) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

// runs are two arrays: ids and epochs.
func runs(all []Owned) (ids, epochs string) {
	var texts, numbers pg.Array
	for _, run := range all {
		texts.Add(run.RunID)
		numbers.Add(run.Epoch)
	}
	return texts.Literal(), numbers.Literal()
}

// durationOf is nil for NULL.
func durationOf(ms sql.NullInt64) *time.Duration {
	if !ms.Valid {
		return nil
	}
	d := time.Duration(ms.Int64) * time.Millisecond
	return &d
}
