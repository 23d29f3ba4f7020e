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
