package store

import (
	"database/sql"
	"encoding/json"
	"time"
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

// milliseconds is NULL for nil.
func milliseconds(d *time.Duration) any {
	if d == nil {
		return nil
	}
	return d.Milliseconds()
}

// payload is NULL for nil. Drivers take JSON as a string; []byte they would send as bytea.
func payload(p json.RawMessage) any {
	if p == nil {
		return nil
	}
	return string(p)
}

// texts is an array.
func texts(all []string) string {
	var a array
	for _, s := range all {
		a.add(s)
	}
	return a.literal()
}

// runs are two arrays: ids and epochs.
func runs(all []Owned) (ids, epochs string) {
	var texts, numbers array
	for _, run := range all {
		texts.add(run.RunID)
		numbers.add(run.Epoch)
	}
	return texts.literal(), numbers.literal()
}

// durationOf is nil for NULL.
func durationOf(ms sql.NullInt64) *time.Duration {
	if !ms.Valid {
		return nil
	}
	d := time.Duration(ms.Int64) * time.Millisecond
	return &d
}
