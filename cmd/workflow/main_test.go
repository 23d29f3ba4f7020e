package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	code           int
	stdout, stderr string
}

// A console is where a test calls the command.
type console struct {
	url    string // DATABASE_URL
	width  int    // of the terminal; 0: none
	height int
	colour bool
	answer string // that somebody types; "": nobody is there
	now    bool   // it is now, and not a hundred days later
}

// invoke runs the command with DATABASE_URL set to databaseURL, and no terminal.
func invoke(ctx context.Context, databaseURL string, args ...string) result {
	return console{url: databaseURL}.invoke(ctx, args...)
}

// invoke runs the command a hundred days from now, so that ages are told in days, and are the same each time.
func (o console) invoke(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	c := &cli{
		in: strings.NewReader(o.answer), out: &stdout, err: &stderr, asks: o.answer != "", colour: o.colour,
		size:  func() (int, int) { return o.width, o.height },
		clock: func() time.Time { return time.Now().Add(100*24*time.Hour + 12*time.Hour) },
		getenv: func(name string) string {
			if name == "DATABASE_URL" {
				return o.url
			}
			return ""
		},
	}
	if o.now {
		c.clock = nil
	}
	code := c.run(ctx, args)
	return result{code, stdout.String(), stderr.String()}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	databaseURL := pgtest.Empty(t).URL()
	latest := int(migrations.Latest())
	steps := []struct {
		args    string
		applied int // migrations, from the first on
	}{
		{"status", 0},
		{"up", latest},
		{"up", latest},
		{"status --schema other", 0},
		{"down --yes", latest - 1},
		{"up --schema=other", latest},
		{"down --to 0 --schema other -y", 0},
		{"status", latest - 1},
		{"down --to 1 --yes", 1},
		{"down --yes", 0},
		{"down", 0}, // there is nothing to ask about
	}
	for _, step := range steps {
		got := invoke(t.Context(), databaseURL, append([]string{"migrate"}, strings.Fields(step.args)...)...)
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if got.code != exitOK || got.stderr != "" || len(lines) != 1+latest {
			t.Fatalf("%s: exit code %d\n%s%s", step.args, got.code, got.stdout, got.stderr)
		}
		for i, line := range lines[1:] {
			if applied := i < step.applied; strings.HasSuffix(line, "UTC") != applied || strings.HasSuffix(line, "pending") == applied {
				t.Errorf("%s: line %q, want the first %d applied", step.args, line, step.applied)
			}
		}
	}
}

func TestMigrateAdopt(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	if err := migrations.Down(t.Context(), db, migrations.DefaultSchema, 1); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		change, want string
		code         int
	}{
		{`DROP TABLE workflows.workflow_migrations; ALTER TABLE workflows.workflow_runs ALTER created_at TYPE int`, "workflow_runs.created_at is integer", exitFailed},
		{`ALTER TABLE workflows.workflow_runs ALTER created_at TYPE bigint`, "1        00001_runs_and_steps.sql  20", exitOK},
	} {
		if _, err := db.ExecContext(t.Context(), step.change); err != nil {
			t.Fatal(err)
		}
		got := invoke(t.Context(), database.URL(), "migrate", "adopt")
		if got.code != step.code || !strings.Contains(got.stdout+got.stderr, step.want) || strings.Contains(got.stdout, "pending") {
			t.Errorf("exit code %d, want %d and %q\n%s%s", got.code, step.code, step.want, got.stdout, got.stderr)
		}
	}
}

func TestStatusTable(t *testing.T) {
	t.Parallel()
	got := invoke(t.Context(), "postgres://not.used.invalid/", "migrate", "status", "--database-url", pgtest.Empty(t).URL())
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) < 3 || strings.Join(strings.Fields(lines[0]), " ") != "VERSION MIGRATION APPLIED" {
		t.Fatalf("table:\n%s%s", got.stdout, got.stderr)
	}
	for i, line := range lines[1:] {
		aligned := strings.Index(line, "pending") == strings.Index(lines[0], "APPLIED")
		if fields := strings.Fields(line); len(fields) != 3 || fields[0] != strconv.Itoa(i+1) || !aligned {
			t.Errorf("line %q", line)
		}
	}
}

func TestNewerSchemaIsShown(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	if _, err := database.Open(t, pgtest.PQ).ExecContext(t.Context(),
		`INSERT INTO workflows.workflow_migrations (version_id, is_applied) VALUES (99, true)`); err != nil {
		t.Fatal(err)
	}
	got := invoke(t.Context(), database.URL(), "migrate", "up")
	if got.code != exitOK || !strings.Contains(got.stdout, "99       (of a newer release)") || !strings.Contains(got.stderr, "level=WARN") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	got = invoke(t.Context(), database.URL(), "migrate", "down", "--yes")
	if got.code != exitFailed || !strings.Contains(got.stderr, "unknown to this release") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"help":                  {"workflow [command]", "migrate ", "Exit codes:", "  3  "},
		"--help":                {"workflow [command]"},
		"migrate -h":            {"up ", "down ", "adopt ", "status "},
		"migrate adopt -h":      {"--schema", "rows stay"},
		"migrate up -h":         {"--database-url URL", "$DATABASE_URL", "--schema name", "workflows"},
		"migrate down --help":   {"--to N", "rows", "--yes"},
		"migrate status --help": {"--database-url"},
	}
	for args, want := range tests {
		got := invoke(t.Context(), "postgres://u:hunter2@h/d", strings.Fields(args)...)
		if got.code != exitOK || got.stderr != "" || strings.Contains(got.stdout, "hunter2") {
			t.Errorf("%s: exit code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
		for _, part := range want {
			if !strings.Contains(got.stdout, part) {
				t.Errorf("%s: no %q in\n%s", args, part, got.stdout)
			}
		}
	}
}

// Each command says what it is for, shows how it is called, and says its flags; and what it prints for people it prints for programs,
// unless it only changes something.
func TestEachCommandExplainsItself(t *testing.T) {
	t.Parallel()
	var each func(command *cobra.Command)
	each = func(command *cobra.Command) {
		path := strings.TrimPrefix(command.CommandPath(), "workflow ")
		if strings.HasPrefix(path, "help") || strings.HasPrefix(path, "completion") {
			return
		}
		if command.Short == "" || command.Long == "" || !strings.Contains(command.Example, "workflow ") || strings.HasSuffix(command.Short, ".") || len(command.Short) > 64 {
			t.Errorf("%s: short %q, long %q, example %q", path, command.Short, command.Long, command.Example)
		}
		for line := range strings.Lines(command.Long + "\n" + command.Example) {
			if utf8.RuneCountInString(line) > 141 {
				t.Errorf("%s: a long line of help: %q", path, line)
			}
		}
		if command.Args == nil {
			t.Errorf("%s takes any words", path)
		}
		for _, below := range command.Commands() {
			each(below)
		}
	}
	c := &cli{}
	each(c.root())
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	const good = "postgres://u:hunter2@h/d"
	tests := []struct{ url, args, want string }{
		{good, "", "a command is missing"},
		{good, "migrat", `unknown command "migrat": did you mean migrate?`},
		{good, "rums", `unknown command "rums": did you mean runs?`},
		{good, "migrate", "a command is missing"},
		{good, "migrate sideways", `unknown command "sideways"`},
		{good, "migrate up --to 1", "unknown flag: --to"},
		{good, "migrate up now", `"now" is one word too many`},
		{good, "migrate down --to x", `invalid argument "x" for "--to"`},
		{good, "migrate up --schema User", "--schema: schema name"},
		{good, "migrate up --schema user", "reserved"},
		{"", "migrate up", "set --database-url or DATABASE_URL"},
		{good, good, "unknown command"},
		{good, "runs " + good, "one word too many"},
		{good, "runs --limit " + good, "invalid argument"},
		{good, "runs --database-ulr=" + good, "unknown flag: --database-ulr"},
	}
	for _, test := range tests {
		got := invoke(t.Context(), test.url, strings.Fields(test.args)...)
		if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, test.want) || !strings.Contains(got.stderr, "--help") ||
			strings.Contains(got.stderr, "hunter2") {
			t.Errorf("workflow %s: exit code %d, want %q and the help\n%s%s", test.args, got.code, test.want, got.stdout, got.stderr)
		}
	}
}

// Whatever is wrong with an address, the password in it is not printed.
func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(pgtest.Empty(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		url  string
		code int
	}{
		{"postgres://u:hunter2@127.0.0.1:1/d", exitFailed}, // nobody listens there
		{"postgres://nobody:hunter2@" + server.Host + "/no_such_database?sslmode=disable", exitFailed},
		{"postgres://u:hunter2@127.0.0.1:port/d", exitUsage},
		{"postgres://u:hunter2/more@127.0.0.1/d", exitUsage},
		{"postgres://u:%zzhunter2@127.0.0.1/d", exitUsage},
		{"postgres://u:hunter2@127.0.0.1/d?sslmode=perhaps", exitUsage},
		{"host=127.0.0.1 password=hunter2 sslmode", exitUsage},
		{"host=127.0.0.1 password='hunter2", exitUsage},
		{"mysql://u:hunter2@127.0.0.1/d", exitUsage},
	}
	for _, test := range tests {
		for _, command := range []string{"migrate up", "migrate down", "migrate status", "runs", "why"} {
			got := invoke(t.Context(), test.url, strings.Fields(command)...)
			if text := got.stdout + got.stderr; got.code != test.code || strings.Contains(text, "hunter2") {
				t.Errorf("%s %s: exit code %d, want %d without the password\n%s", command, test.url, got.code, test.code, text)
			}
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := invoke(ctx, pgtest.Empty(t).URL(), "migrate", "up")
	if got.code != exitFailed || !strings.Contains(got.stderr, "context canceled") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestEnvironmentIsReadThroughGetenv(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://u@h/d")
	if got := invoke(t.Context(), "", "migrate", "status"); got.code != exitUsage {
		t.Errorf("exit code %d with DATABASE_URL=%s", got.code, os.Getenv("DATABASE_URL"))
	}
}
