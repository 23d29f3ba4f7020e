package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/sqlworkflow/workflow/migrations"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

const given = `WITH step AS (
    SELECT run_id, epoch, step_name, result, kind, wake_in, n
    FROM unnest((SELECT $1::text[]), (SELECT $2::bigint[]), (SELECT $3::text[]), (SELECT $4::jsonb[]), (SELECT $5::text[]), (SELECT $6::bigint[]))
         WITH ORDINALITY AS given (run_id, epoch, step_name, result, kind, wake_in, n)
), recorded AS (
    INSERT INTO workflows.workflow_steps AS old (run_id, step_name, status, result, updated_at, kind, wake_at)
    SELECT step.run_id, step.step_name, 'succeeded', step.result, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, step.kind, step.wake_in
    FROM step `
const guard = ` CROSS JOIN LATERAL (
        SELECT
        FROM workflows.workflow_runs
        WHERE id = step.run_id AND epoch = step.epoch AND status = 'running'
        FOR SHARE SKIP LOCKED
    ) AS run `
const guardKey = ` CROSS JOIN LATERAL (
        SELECT
        FROM workflows.workflow_runs
        WHERE id = step.run_id AND epoch = step.epoch AND status = 'running'
    ) AS run `
const conflict = ` ON CONFLICT (run_id, step_name) DO UPDATE
    SET status = EXCLUDED.status, result = EXCLUDED.result, error = NULL, updated_at = EXCLUDED.updated_at,
        kind = EXCLUDED.kind, wake_at = EXCLUDED.wake_at
    WHERE old.status <> 'succeeded' `
const missed = ` RETURNING run_id, step_name ) SELECT 1 AS part, n FROM step WHERE (run_id, step_name) NOT IN (SELECT run_id, step_name FROM recorded)`
const counted = ` RETURNING run_id ) SELECT 1 AS part, n FROM step WHERE (SELECT count(*) FROM recorded) <> (SELECT count(*) FROM step)`
const none = ` RETURNING run_id ) SELECT 1 AS part, 1 AS n WHERE false`

func main() {
	ctx := context.Background()
	url := os.Getenv("DATABASE_URL")
	rows := 64
	for _, v := range []struct {
		name, text string
		fk         bool
	}{
		{"current", given + guard + conflict + missed, true},
		{"no fk", given + guard + conflict + missed, false},
		{"plain insert", given + guard + missed, true},
		{"plain insert, no fk", given + guard + missed, false},
		{"no guard lock", given + guardKey + conflict + missed, true},
		{"no guard", given + conflict + missed, true},
		{"count instead of not in", given + guard + conflict + counted, true},
		{"no missed", given + guard + conflict + none, true},
		{"nothing", given + none, false},
		{"current", given + guard + conflict + missed, true},
	} {
		db, err := sql.Open("pgx", url)
		must(err)
		db.SetMaxOpenConns(3)
		_, err = db.Exec("DROP SCHEMA IF EXISTS workflows CASCADE")
		must(err)
		must(migrations.Up(ctx, db, "workflows"))
		_, err = db.Exec(`INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, epoch)
			SELECT '0190f9d0-1111-7222-8333-' || lpad(n::text, 12, '0'), 'x', 'running', '1', 1, 1, 1 FROM generate_series(1, 20000) n`)
		must(err)
		if !v.fk {
			_, err = db.Exec("ALTER TABLE workflows.workflow_steps DROP CONSTRAINT workflow_steps_run_id_fkey")
			must(err)
		}
		_, err = db.Exec("VACUUM ANALYZE")
		must(err)
		_, err = db.Exec("CHECKPOINT")
		must(err)
		const batches = 1200
		var total time.Duration
		for b := range batches {
			var ids, epochs, names, results, kinds, wakes []string
			for r := range rows {
				run := (b%10)*rows*20 + (b/200)*rows + r + 1
				_ = run
				ids = append(ids, fmt.Sprintf("0190f9d0-1111-7222-8333-%012d", (b/10)%20*rows*4+r*3+1))
				epochs = append(epochs, "1")
				names = append(names, fmt.Sprintf("step#%d", b))
				results = append(results, `"\"`+strings.Repeat("x", 100)+`\""`)
				kinds = append(kinds, "NULL")
				wakes = append(wakes, "NULL")
			}
			a := func(s []string) string { return "{" + strings.Join(s, ",") + "}" }
			if b == 200 {
				total = 0
			}
			began := time.Now()
			rs, err := db.Query(v.text, a(ids), a(epochs), a(names), a(results), a(kinds), a(wakes))
			must(err)
			if rs.Next() {
				panic("missed")
			}
			must(rs.Close())
			total += time.Since(began)
		}
		var exec float64
		_ = db.QueryRow("SELECT mean_exec_time * 1000 FROM pg_stat_statements WHERE query LIKE 'WITH step AS%' AND calls > 1000 ORDER BY total_exec_time DESC LIMIT 1").Scan(&exec)
		_, _ = db.Exec("SELECT pg_stat_statements_reset()")
		fmt.Printf("%-25s %6.0f µs a statement, %5.1f µs a row; server exec %.0f µs\n", v.name, total.Seconds()*1e6/(batches-200), total.Seconds()*1e6/(batches-200)/float64(rows), exec)
		db.Close()
	}
}
