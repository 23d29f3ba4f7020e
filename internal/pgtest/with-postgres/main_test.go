//go:build unix

package main

import (
	"database/sql"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/server"
)

// asWrapper makes the test binary the command itself, so that tests run it as a process of its own.
const asWrapper = "PGTEST_TEST_WRAPPER"

func TestMain(m *testing.M) {
	if os.Getenv(asWrapper) != "" {
		os.Unsetenv(asWrapper)
		main()
		return
	}
	os.Exit(m.Run())
}

// untilFile is a command that says who it is and lasts until $DONE exists, or a minute should we fail.
const untilFile = `echo "$$ $PGTEST_RUN $TEST_DATABASE_URL$DATABASE_URL"
while [ ! -e "$DONE" ] && [ $((n += 1)) -lt 1200 ]; do sleep 0.05; done
exit 7`

func TestNothingStays(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	const deaf = `trap "" INT TERM; ` + untilFile
	for _, test := range []struct {
		name    string
		command string
		end     func(*victim)
		code    int
	}{
		{"command ends", untilFile, (*victim).release, 7},
		{"SIGINT", untilFile, sending(syscall.SIGINT), 128 + int(syscall.SIGINT)},
		{"SIGTERM", untilFile, sending(syscall.SIGTERM), 128 + int(syscall.SIGTERM)},
		{"SIGINT twice, ignored by the command", deaf, sending(syscall.SIGINT, syscall.SIGINT), 128 + int(syscall.SIGKILL)},
		{"kill -9", untilFile, sending(syscall.SIGKILL), -1},
		{"kill -9, SIGTERM ignored by the command", deaf, sending(syscall.SIGKILL), -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := wrapper(t, nil, "--", "sh", "-c", test.command)
			v.answers("SHOW fsync", "off")
			test.end(v)
			if code := v.wait(); code != test.code {
				t.Errorf("exit code = %d, want %d; stderr:\n%s", code, test.code, v.stderr.String())
			}
			if !v.killed() {
				v.mustBeClear() // by the time that the wrapper has ended, not later
			}
			v.awaitClear()
		})
	}
}

func TestDemoIsDurable(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	v := wrapper(t, nil, "-demo", "--", "sh", "-c", untilFile)
	v.answers("SHOW fsync", "on")
	v.release()
	v.wait()
	v.mustBeClear()
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	base, err := server.Start(t.Context(), server.Options{Run: server.NewRun()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, end := range map[string]func(*victim){
		"command ends": (*victim).release,
		"kill -9":      sending(syscall.SIGKILL),
	} {
		t.Run(name, func(t *testing.T) {
			v := wrapper(t, []string{"TEST_DATABASE_URL=" + base.URL, "PGTEST_SERVER="}, "--", "sh", "-c", untilFile)
			if v.url != base.URL {
				t.Errorf("URL = %s, want %s", v.url, base.URL)
			}
			left := server.Prefix(v.run) + "left"
			v.exec("CREATE DATABASE " + left)
			v.exec("CREATE ROLE " + left)
			end(v)
			v.wait()
			v.awaitClear()
			kit.Until(t, "nothing of the run on the server", func() bool {
				return ask[int](t, base.URL, `SELECT (SELECT count(*) FROM pg_database WHERE datname = '`+left+`')
					+ (SELECT count(*) FROM pg_roles WHERE rolname = '`+left+`')`) == 0
			})
			if ask[string](t, base.URL, "SELECT current_user") != "postgres" {
				t.Error("the given server is gone")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  []string
		args []string
		code int
		want string
	}{
		{"no command", nil, nil, 2, "no command given"},
		{"unknown flag", nil, []string{"-x"}, 2, "-x"},
		{"unknown source", []string{"PGTEST_SERVER=mars"}, []string{"true"}, 1, "PGTEST_SERVER=mars: must be docker or local"},
		{
			"no Docker", []string{"PGTEST_SERVER=docker", "DOCKER_HOST=unix:///nowhere"},
			[]string{"true"}, 1, "PGTEST_SERVER=docker: not available: no Docker daemon answers",
		},
		{"no programs", []string{"PGTEST_BIN=/nowhere", "PGTEST_SERVER="}, []string{"true"}, 1, "PGTEST_BIN=/nowhere: not available: no postgres and initdb"},
		{
			"no server at the URL", []string{"TEST_DATABASE_URL=postgres://u:secret@127.0.0.1:1/x", "PGTEST_SERVER="},
			[]string{"true"}, 1, "connect to the given server",
		},
		{"unknown version", []string{"PGTEST_VERSION=13", "PGTEST_BIN=", "PGTEST_SERVER=local"}, []string{"true"}, 1, "PGTEST_VERSION=13: must be one of 14"},
		{"no compiler", []string{"PATH=", "CC=", "PGTEST_SERVER=local"}, []string{"--", "go", "test", "-race"}, 1, "missing: a C compiler (for -race). On"},
		{"not a URL", []string{"TEST_DATABASE_URL=password=secret", "PGTEST_SERVER="}, []string{"true"}, 1, "must begin with postgres://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := spawn(t, append(test.env, asWrapper+"=1"), test.args...)
			if code := v.wait(); code != test.code {
				t.Errorf("exit code = %d, want %d", code, test.code)
			}
			text := v.stderr.String()
			if !strings.Contains(text, test.want) || strings.Contains(text, "secret") {
				t.Errorf("stderr = %q, want %q in it and no password", text, test.want)
			}
			v.awaitClear()
		})
	}
}

func TestMissingPoolerIsTheLastLine(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--", "echo", "ok")
	cmd.Env = append(environment(), asWrapper+"=1", "PGTEST_SERVER=local", "PGTEST_PGBOUNCER=/nowhere")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "NOT RUN: pgbouncer") {
		t.Errorf("output = %q, want NOT RUN: pgbouncer as its last line", lines)
	}
}

// needPrograms skips a test of the throwaway cluster where there can be none.
func needPrograms(t *testing.T) {
	t.Helper()
	if _, err := server.Programs(); err != nil {
		t.Skipf("NOT RUN: local server: %v", err)
	}
}

func ask[T any](t *testing.T, url, query string) T {
	t.Helper()
	db := open(t, url)
	defer db.Close()
	var answer T
	if err := db.QueryRowContext(t.Context(), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
