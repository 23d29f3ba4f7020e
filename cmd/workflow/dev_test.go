package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/internal/server"
	"github.com/sqlworkflow/workflow/migrations"
)

func needPrograms(t *testing.T) {
	t.Helper()
	if _, err := server.Programs(); err != nil {
		t.Skipf("NOT RUN: local server: %v", err)
	}
}

var exported = regexp.MustCompile(`export DATABASE_URL='([^']+)'`)

// All that is needed to develop is there until Ctrl-C, and then nothing.
func TestDevelopmentServer(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	g := begin(t, "", 80, "dev", "--addr", "127.0.0.1:0", "--port", "0", "--schema", "shop")
	at := g.dashboard()
	if status, body := request(t, http.MethodGet, at, "", nil); status != 200 || !strings.Contains(body, "</html>") {
		t.Errorf("the dashboard: %d %s", status, body)
	}
	found := exported.FindStringSubmatch(g.out.String())
	if found == nil {
		t.Fatalf("no address of the database:\n%s", g.out.String())
	}
	db, err := sql.Open("postgres", found[1])
	kit.Must(t, err)
	defer db.Close()
	if n := kit.One[int](t, db, `SELECT count(*) FROM shop.workflow_runs`); n != 0 {
		t.Errorf("%d runs", n)
	}
	g.ctrlC()
	g.ends(exitOK)
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("the server is still there")
	}
	if !strings.Contains(g.out.String(), "--data DIRECTORY keeps it") {
		t.Errorf("does not say what becomes of the data:\n%s", g.out.String())
	}
}

// A command gets the addresses, and its exit code is that of all. On a terminal the dashboard stays when it has ended well.
func TestDevelopmentServerForACommand(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	told := filepath.Join(t.TempDir(), "told")
	script := `echo "$DATABASE_URL $WORKFLOW_DASHBOARD" > ` + told + `; exit `
	for _, test := range []struct {
		width int
		exit  string
		want  int
	}{{0, "7", 7}, {0, "0", exitOK}, {80, "3", 3}} {
		g := begin(t, database.URL(), test.width, "dev", "--", "sh", "-c", script+test.exit)
		g.ends(test.want)
		text, err := os.ReadFile(told)
		kit.Must(t, err)
		words := strings.Fields(string(text))
		if len(words) != 2 || !dashboardURL.MatchString(words[1]) || !strings.Contains(words[0], "postgres://") {
			t.Errorf("the command was told %q", words)
		}
		if g.out.String()+g.errors.String() != "" {
			t.Errorf("said %q, %q: it is for the command to say something", g.out.String(), g.errors.String())
		}
	}
	created(t, database)

	g := begin(t, database.URL(), 80, "dev", "--", "true")
	if status, _ := request(t, http.MethodGet, g.dashboard(), "", nil); status != 200 {
		t.Errorf("the dashboard: %d", status)
	}
	g.ctrlC()
	g.ends(exitOK)

	if r := invoke(t.Context(), database.URL(), "dev", "true"); r.code != exitUsage || !strings.Contains(r.stderr, "a command comes after --") {
		t.Errorf("a command without --: %+v", r)
	}
	if r := invoke(t.Context(), database.URL(), "dev", "--", "no-such-program"); r.code != exitFailed || !strings.Contains(r.stderr, "no-such-program") {
		t.Errorf("a command that is not there: %+v", r)
	}
}

// A server that was given is used as it is, and its address, which may hold a password, is not printed.
func TestDevelopmentOnAGivenServer(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	g := begin(t, database.URL(), 0, "dev", "--addr", "127.0.0.1:0")
	g.dashboard()
	g.ctrlC()
	g.ends(exitOK)
	if out := g.out.String(); strings.Contains(out, database.URL()) || strings.Contains(out, "--data") {
		t.Errorf("said:\n%s", out)
	}
	created(t, database)
}

func created(t *testing.T, database *pgtest.Database) {
	t.Helper()
	all, err := migrations.Status(t.Context(), database.Open(t, pgtest.PQ), migrations.DefaultSchema)
	if kit.Must(t, err); len(all) == 0 || !all[len(all)-1].Applied {
		t.Errorf("the tables were not created: %+v", all)
	}
}

// Without any server the programs are downloaded; where they cannot be, one line says so, and what else can be done. Not parallel: what is
// downloaded is told by the environment.
func TestDevelopmentServerIsDownloaded(t *testing.T) {
	t.Setenv(server.EnvBin, os.Getenv(server.EnvBin))
	var errs said
	c := &cli{err: &errs, getenv: func(string) string { return "" }}
	starts := 0
	d := &development{mirror: "a mirror", data: "a directory", port: 7}
	d.start = func(_ context.Context, o server.Options) (*server.Server, error) {
		if starts++; o.Dir != "a directory" || o.Port != 7 || !o.Durable {
			t.Errorf("%+v", o)
		}
		if starts == 1 {
			return nil, server.ErrNone
		}
		return &server.Server{Source: os.Getenv(server.EnvBin)}, nil
	}
	d.fetch = func(_ context.Context, _, repository string, begin func()) (string, error) {
		begin()
		return "the programs from " + repository, nil
	}
	s, err := c.postgres(t.Context(), d, "")
	if err != nil || s.Source != "the programs from a mirror" || !strings.Contains(errs.String(), "downloading the programs") {
		t.Errorf("%+v, %v, %q", s, err, errs.String())
	}

	starts = 0
	d.fetch = func(context.Context, string, string, func()) (string, error) { return "", errors.New("no way") }
	_, err = c.postgres(t.Context(), d, "")
	text := message(err)
	for _, way := range []string{"no way", "--database-url", "Docker", "apt-get install postgresql", "--mirror"} {
		if !strings.Contains(text, way) {
			t.Errorf("%q does not tell of %s", text, way)
		}
	}
	if strings.Contains(text, "\n") || starts != 1 {
		t.Errorf("%d starts, %q", starts, text)
	}

	starts = 1
	failing := errors.New("it is there, but does not start")
	d.start = func(context.Context, server.Options) (*server.Server, error) { return nil, failing }
	if _, err = c.postgres(t.Context(), d, ""); !errors.Is(err, failing) {
		t.Errorf("%v, want the reason for which a server does not start", err)
	}
}
