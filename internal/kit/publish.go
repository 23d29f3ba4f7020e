package kit

import (
	"archive/zip"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Publish makes a module what a proxy serves, as its only version, from the folder that it is in; folders with a go.mod are modules of
// their own.
func Publish(t testing.TB, proxy, module, version, folder string) {
	t.Helper()
	versions := filepath.Join(proxy, module, "@v")
	at := filepath.Join(versions, version)
	Must(t, os.MkdirAll(versions, 0o755))
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	Must(t, err)
	for path, text := range map[string]string{
		at + ".mod": string(mod), at + ".info": `{"Version": "` + version + `"}`, filepath.Join(versions, "list"): version + "\n",
	} {
		Must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	file, err := os.Create(at + ".zip")
	Must(t, err)
	defer file.Close()
	archive := zip.NewWriter(file)
	Must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
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
	Must(t, archive.Close())
}

// FromProxy is the environment of a go command that fetches what was published, and all else from where this one has it.
func FromProxy(t testing.TB, proxy string) []string {
	t.Helper()
	cache := filepath.Join(GoEnv(t, "GOMODCACHE"), "cache", "download")
	return []string{
		"GOPROXY=file://" + proxy + ",file://" + cache + "," + GoEnv(t, "GOPROXY"), "GOMODCACHE=" + t.TempDir(),
		"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOSUMDB=off", "GONOSUMDB=*", "GONOPROXY=none", "GOPRIVATE=",
	}
}

// GoEnv returns a variable of the go command.
func GoEnv(t testing.TB, name string) string {
	t.Helper()
	return strings.TrimSpace(GoCommand(t, ".", nil, "env", name))
}

// GoCommand runs the go command in a folder and returns what it prints. What it says besides is the test's.
func GoCommand(t testing.TB, folder string, with []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = folder, append(os.Environ(), with...), t.Output()
	out, err := cmd.Output()
	Must(t, err)
	return string(out)
}

// StandsAlone checks a module of its own in the folder of a test, named as that: whoever fetches it gets by with what it says of itself,
// since nothing in it leads to a file beside it, and links no test libraries. The version of the library is the one in its go.mod.
func StandsAlone(t testing.TB, name string) {
	t.Helper()
	const module, version = "github.com/sqlworkflow/workflow", "v0.0.0-00010101000000-000000000000"
	proxy, app := t.TempDir(), t.TempDir()
	Publish(t, proxy, module, version, "..")
	Publish(t, proxy, module+"/"+name, version, ".")
	for file, text := range map[string]string{
		"go.mod":  "module app\n\ngo 1.26.0\n\nrequire " + module + "/" + name + " " + version + "\n",
		"main.go": "package main\n\nimport _ \"" + module + "/" + name + "\"\n\nfunc main() {}\n",
	} {
		Must(t, os.WriteFile(filepath.Join(app, file), []byte(text), 0o600))
	}
	listed := GoCommand(t, app, FromProxy(t, proxy), "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{with .Replace}}{{.Path}}{{end}}{{end}}", ".")
	for _, one := range []string{module, module + "/" + name} {
		if !strings.Contains(listed, one+" \n") {
			t.Errorf("an application that imports the adapter has no module %s of its own:\n%s", one, listed)
		}
	}
	if strings.Contains(listed, "github.com/ory/dockertest") {
		t.Error("an application that imports the adapter links test libraries")
	}
}
