package main

import (
	"bytes"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// These tests run the real programs, as processes.

// asProgram makes the test binary the program itself.
const asProgram = "THUMBNAILS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the program on a database. Its output is there once it has ended.
func start(t *testing.T, url string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(kit.Context(t), os.Args[0], args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "DATABASE_URL="+url)
	cmd.WaitDelay = time.Second
	kit.Must(t, cmd.Start())
	return cmd, &out
}

// TestKilled runs the demo, small: three workers, and kill -9 of one of them.
func TestKilled(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	dir := t.TempDir()
	demo, out := filepath.Join(dir, "demo"), filepath.Join(dir, "out")
	if text, err := exec.CommandContext(kit.Context(t), "go", "build", "-o", demo, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	cmd := exec.CommandContext(kit.Context(t), demo, "-out", out, "-pictures", "6", "-width", "160", "-slow", "100ms")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+database.URL())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, line := range []string{
		"67 pictures in 3 albums",
		"Killed (SIGKILL): w",
		"67 of 67 pictures, 0 at work: alps 40 of 40, coast 16 of 16, desert 11 of 11\n",
		"most running at once    5 of 5 allowed; in one process 2 of 2 ",
		"whose turn it was       alps ",
		"held its places until the lease ended, then queued again; begun anew ",
		"69 thumbnails and contact sheets, all of them whole\n",
		"the kill lost nothing",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("the output lacks %q", line)
		}
	}
	for _, album := range []string{"alps", "coast", "desert"} {
		if _, err := readTile(filepath.Join(out, album+".jpg")); err != nil {
			t.Errorf("the contact sheet of %s: %v", album, err)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

// TestMakerKilled kills the process that waits for the albums, before any worker is there. Started again, it finds what it had begun.
func TestMakerKilled(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	db, out := database.Open(t, pgtest.PQ), filepath.Join(t.TempDir(), "out")
	const waiting = `
		SELECT count(*) FROM example_thumbnails.workflow_runs WHERE queue = 'thumbnails' AND status = 'pending'`
	first, _ := start(t, database.URL(), "make", "-out", out, "photos")
	kit.Until(t, "the pictures wait", func() bool {
		var n int
		return db.QueryRowContext(t.Context(), waiting).Scan(&n) == nil && n == 13
	})
	kit.Must(t, first.Process.Kill())
	_ = first.Wait()

	second, text := start(t, database.URL(), "make", "-out", out, "photos")
	worker, trouble := start(t, database.URL(), "work", "-name", "me")
	if err := second.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	kit.Must(t, worker.Process.Signal(syscall.SIGTERM))
	if err := worker.Wait(); err != nil {
		t.Fatalf("the worker: %v\n%s", err, trouble)
	}
	limit, said := start(t, database.URL(), "limit", "3")
	if err := limit.Wait(); err != nil || said.String() != "3 pictures may be at work at once; before, it was 5\n" {
		t.Errorf("a new limit: %v\n%s", err, said)
	}
	limits := kit.Column[int](t, db, `SELECT 10 * max_running + max_per_worker FROM example_thumbnails.workflow_queues`)
	if diff := cmp.Diff([]int{32}, limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	runs := kit.Column[string](t, db, `
		SELECT workflow || ' ' || status || ' ' || count(*)
		FROM example_thumbnails.workflow_runs GROUP BY workflow, status ORDER BY 1`)
	if diff := cmp.Diff([]string{"album completed 3", "thumbnail completed 12", "thumbnail failed 1"}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	for _, line := range []string{"  broken.jpg\n", "me       12\n", "13 of 13 pictures"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the output lacks %q:\n%s", line, text)
		}
	}
}

// TestMistakes: what a user may get wrong is answered with how to put it right.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const nobody = "postgres://nobody@127.0.0.1:1/none?sslmode=disable"
	dir := t.TempDir()
	tests := map[string]struct {
		url  string
		args []string
		says string
	}{
		"no command":         {nobody, nil, "usage:"},
		"unknown command":    {nobody, []string{"mend"}, "usage:"},
		"no folder to write": {nobody, []string{"make", "photos"}, "usage:"},
		"no such folder":     {nobody, []string{"make", "-out", dir, "nothing"}, "nothing: no such file"},
		"no album":           {nobody, []string{"make", "-out", dir, filepath.Join("photos", "alps")}, "there is no folder in"},
		"out among pictures": {nobody, []string{"make", "-out", filepath.Join("photos", "out"), "photos"}, "would be taken for pictures"},
		"no limit":           {nobody, []string{"limit", "many"}, `"many" is no number`},
		"no URL":             {"", []string{"work"}, "DATABASE_URL is not set"},
		"broken URL":         {"postgres//me:secret@h/db", []string{"work"}, "DATABASE_URL cannot be read"},
		"no database":        {nobody, []string{"work"}, "Is the server running"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, out := start(t, test.url, test.args...)
			if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), test.says) {
				t.Errorf("got %v and output\n%s", err, out)
			}
			if strings.Contains(out.String(), "secret") {
				t.Errorf("a password is shown:\n%s", out)
			}
		})
	}
}

// The photos that come with the example are small, and all but one are pictures.
func TestPhotos(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("photos/*/*")
	kit.Must(t, err)
	if len(files) != 13 {
		t.Errorf("%d photos, want 13", len(files))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		kit.Must(t, err)
		if len(content) > 16_000 {
			t.Errorf("%s has %d bytes", file, len(content))
		}
		_, _, err = image.Decode(bytes.NewReader(content))
		if broken := filepath.Base(file) == "broken.jpg"; (err != nil) != broken {
			t.Errorf("%s: %v", file, err)
		}
	}
}
