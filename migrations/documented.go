package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// documentedColumns are those of the first migration.
var documentedColumns = map[string]string{
	"workflow_runs.id":         "text not null",
	"workflow_runs.workflow":   "text not null",
	"workflow_runs.status":     "text not null",
	"workflow_runs.input":      "jsonb not null",
	"workflow_runs.output":     "jsonb",
	"workflow_runs.error":      "jsonb",
	"workflow_runs.created_at": "bigint not null",
	"workflow_runs.updated_at": "bigint not null",

	"workflow_steps.run_id":     "text not null",
	"workflow_steps.step_name":  "text not null",
	"workflow_steps.status":     "text not null",
	"workflow_steps.result":     "jsonb",
	"workflow_steps.error":      "jsonb",
	"workflow_steps.updated_at": "bigint not null",
}

// constraint is one of the first migration's, as PostgreSQL prints it.
type constraint struct {
	table, name, definition string
	required                bool // else it is added where it is missing
}

var documentedConstraints = []constraint{
	{"workflow_runs", "workflow_runs_pkey", "PRIMARY KEY (id)", true},
	{"workflow_runs", "workflow_runs_status_check", "CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'suspended'::text," +
		" 'completed'::text, 'failed'::text, 'cancelled'::text])))", false},
	{"workflow_steps", "workflow_steps_pkey", "PRIMARY KEY (run_id, step_name)", true},
	{"workflow_steps", "workflow_steps_run_id_fkey", "FOREIGN KEY (run_id) REFERENCES {schema}.workflow_runs(id) ON DELETE CASCADE", false},
	{"workflow_steps", "workflow_steps_status_check", "CHECK ((status = ANY (ARRAY['pending'::text, 'scheduled'::text, 'running'::text," +
		" 'succeeded'::text, 'failed'::text])))", false},
}

func (c constraint) definitionIn(schema string) string {
	return strings.ReplaceAll(c.definition, "{schema}", schema)
}

var commentLines = regexp.MustCompile(`(?m)^COMMENT ON .*;$`)

// documentedComments are those of the first migration's Up.
func (m *migrator) documentedComments() string {
	text, err := fs.ReadFile(FS, embedded[0].Name)
	if err != nil {
		panic(err) // the file is embedded
	}
	lines := commentLines.FindAllString(string(files{m.schema, m.lockTimeout}.render(text)), -1)
	return strings.Join(lines, "\n")
}

// compareDocumented returns the constraints that are missing and can be added, or ErrDrift with all that differs.
func (m *migrator) compareDocumented(ctx context.Context, tx *sql.Tx) (missing []constraint, err error) {
	columns, err := m.readPairs(ctx, tx, readColumns)
	if err != nil {
		return nil, err
	}
	constraints, err := m.readPairs(ctx, tx, readConstraints)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(documentedColumns)) {
		if is, want := columns[name], documentedColumns[name]; is == "" {
			problems = append(problems, name+" is missing")
		} else if is != want {
			problems = append(problems, name+" is "+is+", not "+want)
		}
		delete(columns, name)
	}
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		problems = append(problems, name+" is not among the documented columns")
	}
	for _, c := range documentedConstraints {
		key := c.table + ": " + c.definitionIn(m.schema)
		if constraints[key] == "" && c.required {
			problems = append(problems, c.table+" has not "+c.definition)
		} else if constraints[key] == "" {
			missing = append(missing, c)
		}
		delete(constraints, key)
	}
	for _, key := range slices.Sorted(maps.Keys(constraints)) {
		problems = append(problems, key+" ("+constraints[key]+") is not among the documented constraints")
	}
	if problems != nil {
		return nil, fmt.Errorf("%w: schema %s cannot be adopted: %s", ErrDrift, m.schema, strings.Join(problems, "; "))
	}
	return missing, nil
}

const readColumns = `
SELECT c.relname || '.' || a.attname,
       CASE WHEN c.relkind <> 'r' THEN 'in a relation that is no table'
            ELSE format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END END
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relname IN ('workflow_runs', 'workflow_steps')`

// NOT NULL, which PostgreSQL 18 lists among the constraints, is shown with the columns.
const readConstraints = `
SELECT c.relname || ': ' || pg_get_constraintdef(k.oid), k.conname::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
JOIN pg_catalog.pg_constraint AS k ON k.conrelid = c.oid AND k.contype <> 'n'
WHERE c.relname IN ('workflow_runs', 'workflow_steps')`

func (m *migrator) readPairs(ctx context.Context, tx *sql.Tx, query string) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, query, m.schema)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	pairs := make(map[string]string)
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		pairs[key] = value
	}
	return pairs, rows.Err()
}
