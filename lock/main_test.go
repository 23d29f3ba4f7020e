package lock_test

import (
	"database/sql"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
)

func TestMain(m *testing.M) { kit.Main(m, child) }

// accesses are all of them for the full matrix, else one of each driver, one of them pooled.
func accesses() []pgtest.Access {
	all := pgtest.Accesses
	if pgtest.Full() {
		return all
	}
	return []pgtest.Access{all[0], all[len(all)-1]}
}

// perAccess runs f on an empty database for each access.
func perAccess(t *testing.T, f func(t *testing.T, db *sql.DB)) {
	t.Helper()
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			f(t, pgtest.Empty(t).Open(t, access))
		})
	}
}

var key = lock.NewKey("lock_test", "public", "thing", "1")
