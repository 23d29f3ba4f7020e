package migrations

import (
	"strings"
	"time"
)

// WithWaits shortens the bounds for tests: of the wait for other processes, and for a second connection.
func WithWaits(lock, pool time.Duration) Option {
	return func(m *migrator) { m.lockWait, m.poolWait = lock, pool }
}

// WithTableWaits shortens the bounds of one wait for a lock on a table, and of all of them.
func WithTableWaits(each, all time.Duration) Option {
	return func(m *migrator) { m.lockTimeout, m.tableWait = each, all }
}

// ReservedWords is the fixed list that ValidateSchema refuses.
var ReservedWords = reservedWords

// Required returns the columns that check asks for, as table.column.
func Required() []string {
	var all []string
	for _, r := range required {
		for c := range strings.FieldsSeq(r.columns) {
			all = append(all, r.table+"."+c)
		}
	}
	return all
}
