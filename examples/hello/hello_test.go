package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestHello(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "hello")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	hello := exec.CommandContext(t.Context(), program)
	hello.Env = append(os.Environ(), "DATABASE_URL="+pgtest.Empty(t).URL())
	out, err := hello.CombinedOutput()
	if want := "Hello, Zoë! ¡Hola!\n"; err != nil || string(out) != want {
		t.Errorf("printed %q, %v; want %q", out, err, want)
	}
}

// The README shows this program, to the letter.
func TestReadmeShowsThisProgram(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(source), "package main\n")
	program, _, _ = strings.Cut(program, "\nfunc check(")
	if !strings.Contains(string(readme), "```go\npackage main\n"+program) {
		t.Error("the README's program is not examples/hello/main.go")
	}
}
