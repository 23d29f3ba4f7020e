package riverworkflow_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// version is what go.mod names.
const version = "v0.0.0-00010101000000-000000000000"

// Whoever fetches the module gets by with what it says of itself: nothing in it leads to a file beside it.
func TestModuleAsPublished(t *testing.T) {
	t.Parallel()
	proxy := t.TempDir()
	kit.Publish(t, proxy, "github.com/sqlworkflow/workflow", version, "..")
	kit.Publish(t, proxy, "github.com/sqlworkflow/workflow/riverworkflow", version, ".")
	app := t.TempDir()
	write(t, filepath.Join(app, "go.mod"), "module app\n\ngo 1.26.0\n\nrequire github.com/sqlworkflow/workflow/riverworkflow "+version+"\n")
	write(t, filepath.Join(app, "main.go"), "package main\n\nimport _ \"github.com/sqlworkflow/workflow/riverworkflow\"\n\nfunc main() {}\n")

	listed := kit.GoCommand(t, app, kit.FromProxy(t, proxy), "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{with .Replace}}{{.Path}}{{end}}{{end}}", ".")
	for _, module := range []string{"workflow", "workflow/riverworkflow"} {
		if !strings.Contains(listed, "github.com/sqlworkflow/"+module+" \n") {
			t.Errorf("an application that imports the adapter has no module %s of its own:\n%s", module, listed)
		}
	}
	if strings.Contains(listed, "github.com/ory/dockertest") {
		t.Error("an application that imports the adapter links test libraries")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0o644))
}
