package migrations_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, access)
			wantUnchanged(t, db, func() { wantStatus(t, db, 0) })
			before := time.Now().Add(-kit.Patience)
			up(t, db, schema)
			wantStatus(t, db, migrations.Latest())
			all, err := migrations.Status(t.Context(), db, schema)
			if err != nil {
				t.Fatal(err)
			}
			if at := all[0].AppliedAt; at.Before(before) || at.After(time.Now().Add(kit.Patience)) {
				t.Errorf("applied at %s, want now", at)
			}
			down(t, db, schema, 1)
			wantStatus(t, db, 1)
		})
	}
}

// wantStatus checks that the migrations up to version are applied and the rest pending.
func wantStatus(t *testing.T, db *sql.DB, version int64) {
	t.Helper()
	all, err := migrations.Status(t.Context(), db, schema)
	if err != nil || len(all) != int(migrations.Latest()) {
		t.Fatalf("Status = %v, %v, want %d migrations", all, err, migrations.Latest())
	}
	for i, m := range all {
		applied := m.Version <= version
		if m.Version != int64(i+1) || !strings.HasPrefix(m.Name, fmt.Sprintf("%05d_", m.Version)) ||
			m.Applied != applied || m.AppliedAt.IsZero() == applied {
			t.Errorf("at version %d: %+v", version, m)
		}
	}
}

// The zone of the session that reads is the best guess for the zone of the one that wrote.
func TestStatusInAnotherZone(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	admin := database.Open(t, pgtest.PQ)
	kit.Exec(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', current_database()); END $$`)
	db := database.Open(t, pgtest.PQ)
	up(t, db, schema)
	all, err := migrations.Status(t.Context(), db, schema)
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(all[0].AppliedAt); age < -kit.Patience || age > kit.Patience {
		t.Errorf("applied %s ago", age)
	}
}
