package migrations_test

import (
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Under a publication for all tables, UPDATE and DELETE fail on a table without a primary key. goose's own
// statements are among those that must go on working.
func TestPublicationForAllTables(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PQ)
	kit.Exec(t, db, `CREATE PUBLICATION everything FOR ALL TABLES`)
	kit.Exec(t, db, `
INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at) VALUES ('r', 'w', 'pending', '{}', 0, 0);
INSERT INTO workflows.workflow_steps (run_id, step_name, status, updated_at) VALUES ('r', 's', 'pending', 0);
INSERT INTO workflows.workflow_signals (seq, sent_at, run_id, name, payload) VALUES (1, 0, 'r', 'n', '{}');
INSERT INTO workflows.workflow_queues (created_at, updated_at, name) VALUES (0, 0, 'q');
INSERT INTO workflows.workflow_queue_turns (seq, queue) VALUES (0, 'q');
INSERT INTO workflows.workflow_schedules (created_at, updated_at, catch_up, jitter, name, workflow, every, zone, overlap, input)
VALUES (0, 0, 0, 0, 's', 'w', 1, '', 'skip', '1');
INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value) VALUES (0, 'r', 'n', 'v');
INSERT INTO workflows.workflow_workers (id, expires_at) VALUES ('w', 0)`)
	tables := strings.Fields(kit.One[string](t, db, `
SELECT string_agg(c.oid::regclass::text || '.' || a.attname, ' ' ORDER BY c.relname = 'workflow_runs', c.relname DESC) -- runs last
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = 2
WHERE c.relnamespace = 'workflows'::regnamespace AND c.relkind = 'r'`))
	if len(tables) != 10 {
		t.Fatalf("tables = %v", tables)
	}
	for _, name := range tables {
		table, column := name[:strings.LastIndex(name, ".")], name[strings.LastIndex(name, ".")+1:]
		for _, statement := range []string{"UPDATE " + table + " SET " + column + " = " + column, "DELETE FROM " + table} {
			result, err := db.ExecContext(t.Context(), statement)
			if err != nil {
				t.Errorf("%s: %v", statement, err)
				continue
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				t.Errorf("%s: %d rows, %v", statement, n, err)
			}
		}
	}
}
