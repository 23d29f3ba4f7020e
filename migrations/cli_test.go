package migrations_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// The goose command and the Go API take turns on the same schema: what one applied, the other sees.
func TestGooseCommand(t *testing.T) {
	t.Parallel()
	program := buildGoose(t)
	if _, err := startGoose(t, program, schema, "validate"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{schema, "other_schema"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			db := database.Open(t, pgtest.PQ)
			goose := func(args ...string) string { return runGoose(t, program, database.URL(), name, args...) }
			check := func() {
				t.Helper()
				wantVersions(t, db, name+".workflow_migrations", allVersions())
				if got := strings.ReplaceAll(dumpTables(t, db, name), name+".", schema+".") + "\n"; got != goldenSchema(t) {
					t.Errorf("schema %s:\n%s", name, got)
				}
			}

			kit.Exec(t, db, `CREATE SCHEMA `+name)
			goose("up-to", "1")
			up(t, db, name)
			check()
			if text := goose("status"); strings.Contains(text, "Pending") || !strings.Contains(text, "00002_workers.sql") {
				t.Errorf("goose status after Up:\n%s", text)
			}

			down(t, db, name, 1)
			goose("up")
			check()
			wantUnchanged(t, db, func() { up(t, db, name) })

			goose("down-to", "0")
			if left := dumpTables(t, db, name); left != "" {
				t.Errorf("goose down-to 0 leaves %s", left)
			}
			up(t, db, name)
			check()
		})
	}
}

// runGoose runs the command as docs/operations.md tells a user to.
func runGoose(t *testing.T, program, url, schema string, args ...string) string {
	t.Helper()
	text, err := tryGoose(t, program, url, schema, args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func tryGoose(t *testing.T, program, url, schema string, args ...string) (string, error) {
	t.Helper()
	return startGoose(t, program, schema, append([]string{"-table", schema + ".workflow_migrations", "postgres", url}, args...)...)
}

func startGoose(t *testing.T, program, schema string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"-env", "none", "-dir", "migrations/sql"}, args...)...)
	cmd.Dir = ".."
	cmd.Env = os.Environ()
	if schema != migrations.DefaultSchema {
		cmd.Env = append(cmd.Env, "WORKFLOW_SCHEMA="+schema)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("goose %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// buildGoose builds the command in a module of its own, so that the drivers that it links stay out of ours.
// Go's build cache makes it quick from the second time on.
func buildGoose(t *testing.T) string {
	t.Helper()
	const noDriversBut = "no_azuresql,no_clickhouse,no_libsql,no_mssql,no_mysql,no_sqlite3,no_vertica,no_ydb"
	run := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const module = "github.com/pressly/goose/v3"
	version := run(".", "list", "-m", "-f", "{{.Version}}", module)
	dir := t.TempDir()
	text := "module goosecommand\n\ngo 1.26.0\n\nrequire " + module + " " + version + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "goose")
	run(dir, "build", "-mod=mod", "-tags="+noDriversBut, "-o", program, module+"/cmd/goose")
	return program
}
