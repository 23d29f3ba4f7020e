package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/sqlworkflow/workflow/migrations"
)

// A server makes databases.
type server struct {
	url   string
	names []string
}

// fresh replaces the last fresh database by an empty one.
func (s *server) fresh(ctx context.Context) (string, error) {
	return s.create(ctx, "sqlworkflow_bench")
}

func (s *server) create(ctx context.Context, name string) (string, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return "", errors.New("DATABASE_URL is no URL")
	}
	s.names = append(s.names, name)
	for _, statement := range []string{
		"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)",
		"CREATE DATABASE " + name,
		"CHECKPOINT", // not in the midst of a measurement
	} {
		if err := exec1(ctx, s.url, statement); err != nil {
			return "", err
		}
	}
	u.Path = "/" + name
	// Where the server has it loaded; else statements are not counted.
	_ = exec1(ctx, u.String(), "CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()")
	return u.String(), nil
}

func (s *server) drop(ctx context.Context) {
	for _, name := range s.names {
		_ = exec1(ctx, s.url, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}
}

func exec1(ctx context.Context, url, statement string) error {
	db, err := sql.Open("postgres", url) // lib/pq sends several statements at once
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// Finished runs as the engine leaves them, older than any that is measured. Their ids are UUIDs of version 7.
const (
	finishedRuns = `
INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, epoch)
SELECT lpad(left(ms, -4), 8, '0') || '-' || right(ms, 4) || '-7' || right(md5(n::text), 3) || '-8' || left(md5(n::text), 3) || '-' || left(md5('x' || n), 12),
       'ten steps', 'completed', '1', '10', 1600000000000 + n, 1600000000000 + n, 2
FROM (SELECT n, to_hex(1600000000000 + n) AS ms FROM generate_series($1::bigint, $2::bigint) AS n) AS made`
	finishedSteps = `
INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at, started_at, seq)
SELECT id, CASE n WHEN 1 THEN 'step' ELSE 'step#' || n END, 'succeeded', to_jsonb(repeat('x', 100)), created_at, created_at, n
FROM workflows.workflow_runs, generate_series(1, 10) AS n
WHERE created_at BETWEEN 1600000000000 + $1::bigint AND 1600000000000 + $2::bigint`
)

// grow makes a database with n finished runs of ten steps.
func (s *server) grow(ctx context.Context, n int) (string, error) {
	grown, err := s.create(ctx, "sqlworkflow_bench_grown")
	if err != nil {
		return "", err
	}
	db, err := sql.Open("pgx", grown)
	if err != nil {
		return "", err
	}
	defer db.Close()
	if err := migrations.Up(ctx, db, migrations.DefaultSchema); err != nil {
		return "", err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// No check of the foreign key, which is true by construction.
	if _, err := conn.ExecContext(ctx, "SET session_replication_role = replica"); err != nil {
		return "", err
	}
	const chunk = 20_000
	for from := 1; from <= n; from += chunk {
		fmt.Fprintf(os.Stderr, "\rmaking finished runs: %d of %d", from-1, n)
		for _, statement := range []string{finishedRuns, finishedSteps} {
			if _, err := conn.ExecContext(ctx, statement, from, min(from+chunk-1, n)); err != nil {
				return "", err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\rmaking finished runs: %d of %d\n", n, n)
	for _, statement := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	return grown, nil
}
