package migrations_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// catalog describes what a schema holds, the same on all versions of PostgreSQL. NOT NULL is shown with
// the column: version 18 lists it among the constraints too.
const catalog = `
WITH relation AS (
    SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind, c.reloptions AS options
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = '%[1]s' AND c.relkind <> 'i'
), line AS (
    SELECT name, 1 AS part, 0 AS position,
           format(E'\n%%s %%s: %%s', CASE kind WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' ELSE kind END,
                  name, obj_description(oid, 'pg_class')) AS text
    FROM relation
    UNION ALL
    SELECT r.name, 2, a.attnum,
           format('    %%s %%s%%s%%s: %%s', a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' END,
                  ' default ' || pg_get_expr(d.adbin, d.adrelid),
                  col_description(r.oid, a.attnum))
    FROM relation AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
    WHERE r.kind <> 'S'
    UNION ALL
    SELECT name, 3, 0, '    with ' || array_to_string(options, ', ')
    FROM relation
    WHERE options IS NOT NULL
    UNION ALL
    SELECT r.name, 4, 0, format('    constraint %%s %%s', c.conname, pg_get_constraintdef(c.oid))
    FROM relation AS r
    JOIN pg_constraint AS c ON c.conrelid = r.oid
    WHERE c.contype <> 'n'
    UNION ALL
    SELECT r.name, 5, 0, '    ' || pg_get_indexdef(i.indexrelid)
    FROM relation AS r
    JOIN pg_index AS i ON i.indrelid = r.oid
)
SELECT coalesce(ltrim(string_agg(text, E'\n' ORDER BY name COLLATE "C", part, position, text COLLATE "C"), E'\n'), '')
FROM line
WHERE name NOT LIKE '%[2]s'`

// dump returns the tables of a schema, and the rows of its version tables: ours, and the one of an application's goose.
func dump(t *testing.T, db *sql.DB, schema string) string {
	t.Helper()
	text := kit.One[string](t, db, fmt.Sprintf(catalog, schema, ""))
	for _, table := range []string{schema + ".workflow_migrations", schema + ".goose_db_version"} {
		if kit.One[bool](t, db, `SELECT to_regclass('`+table+`') IS NOT NULL`) {
			text += "\n" + kit.One[string](t, db, `SELECT coalesce(string_agg(v::text, E'\n' ORDER BY id), '') FROM `+table+` AS v`)
		}
	}
	return text
}

// dumpTables is dump without our version table and its sequence.
func dumpTables(t *testing.T, db *sql.DB, schema string) string {
	t.Helper()
	return kit.One[string](t, db, fmt.Sprintf(catalog, schema, `workflow\_migrations%`))
}
