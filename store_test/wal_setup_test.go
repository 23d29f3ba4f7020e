package store_test

import (
	"math"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// written returns how many bytes of WAL the server wrote meanwhile: on a server of [pgtest.Alone] those of this test.
func (b *bundle) written(t *testing.T, do func()) float64 {
	t.Helper()
	const position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8"
	before := kit.One[float64](t, b.side, position)
	do()
	return kit.One[float64](t, b.side, position) - before
}

// leastWritten is written by whichever of several tries writes the least: one may split a page, prune it or meet the server's own
// records of what is running.
func (b *bundle) leastWritten(t *testing.T, tries int, do func(n int)) float64 {
	t.Helper()
	least := math.MaxFloat64
	for n := range tries {
		least = min(least, b.written(t, func() { do(n) }))
	}
	return least
}
