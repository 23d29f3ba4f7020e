package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// The command is installed as the documents say, from what is published alone; and an application that has the library gets the command
// of the same release. Nothing is compiled for that: go says what it would do.
func TestInstalledByGo(t *testing.T) {
	t.Parallel()
	const module, version = "github.com/sqlworkflow/workflow", "v0.0.1"
	proxy, bin, app := t.TempDir(), t.TempDir(), t.TempDir()
	kit.Publish(t, proxy, module, version, filepath.Join("..", ".."))
	with := append(kit.FromProxy(t, proxy), "GOBIN="+bin)
	script := slices.Concat(with, []string{"GOFLAGS=-modcacherw"})
	kit.GoCommand(t, app, script, "install", "-n", module+"/cmd/workflow@latest")

	kit.Must(t, os.WriteFile(filepath.Join(app, "go.mod"), []byte("module app\n\ngo 1.26.0\n\nrequire "+module+" "+version+"\n"), 0o600))
	listed := kit.GoCommand(t, app, with, "list", "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Version}}{{with .Replace}}replaced{{end}}{{end}}",
		module+"/cmd/workflow")
	for _, want := range []string{module + "/cmd/workflow " + version + "\n", module + " " + version + "\n", "github.com/spf13/cobra v"} {
		if !strings.Contains(listed, want) {
			t.Errorf("no %q among what the command is made of:\n%s", want, listed)
		}
	}
	for _, foreign := range []string{"go-cmp", "creack/pty", "internal/pgtest", " replaced"} {
		if strings.Contains(listed, foreign) {
			t.Errorf("the command links %s", foreign)
		}
	}
}
