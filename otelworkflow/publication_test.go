package otelworkflow_test

import (
	"archive/zip"
	"context"
	"io/fs"
	"os"
	"os/exec"
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
	publish(t, proxy, "github.com/sqlworkflow/workflow", "..")
	publish(t, proxy, "github.com/sqlworkflow/workflow/otelworkflow", ".")
	app := t.TempDir()
	write(t, filepath.Join(app, "go.mod"), "module app\n\ngo 1.26.0\n\nrequire github.com/sqlworkflow/workflow/otelworkflow "+version+"\n")
	write(t, filepath.Join(app, "main.go"), "package main\n\nimport _ \"github.com/sqlworkflow/workflow/otelworkflow\"\n\nfunc main() {}\n")

	cache := filepath.Join(env(t, "GOMODCACHE"), "cache", "download")
	ours := []string{
		"GOPROXY=file://" + proxy + ",file://" + cache + "," + env(t, "GOPROXY"), "GOMODCACHE=" + t.TempDir(),
		"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOSUMDB=off", "GONOSUMDB=*", "GONOPROXY=none", "GOPRIVATE=",
	}
	listed := command(t, app, ours, "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{with .Replace}}{{.Path}}{{end}}{{end}}", ".")
	for _, module := range []string{"workflow", "workflow/otelworkflow"} {
		if !strings.Contains(listed, "github.com/sqlworkflow/"+module+" \n") {
			t.Errorf("an application that imports the adapter has no module %s of its own:\n%s", module, listed)
		}
	}
	if strings.Contains(listed, "github.com/ory/dockertest") {
		t.Error("an application that imports the adapter links test libraries")
	}
}

// publish makes a module what a proxy serves, from the folder that it is in; folders with a go.mod are modules of their own.
func publish(t *testing.T, proxy, module, folder string) {
	t.Helper()
	at := filepath.Join(proxy, module, "@v", version)
	kit.Must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	kit.Must(t, err)
	write(t, at+".mod", string(mod))
	write(t, at+".info", `{"Version": "`+version+`"}`)
	file, err := os.Create(at + ".zip")
	kit.Must(t, err)
	defer file.Close()
	archive := zip.NewWriter(file)
	kit.Must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, folder), string(filepath.Separator)))
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != folder && (err == nil || strings.HasPrefix(entry.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || strings.HasPrefix(name, ".") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w, err := archive.Create(module + "@" + version + "/" + name)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}))
	kit.Must(t, archive.Close())
}

func env(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(command(t, ".", nil, "env", name))
}

func command(t *testing.T, folder string, with []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = folder, append(os.Environ(), with...), t.Output()
	out, err := cmd.Output()
	kit.Must(t, err)
	return string(out)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0o644))
}
