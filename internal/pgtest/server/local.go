package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// installations are where packages put PostgreSQL's programs without adding them to PATH.
var installations = []string{
	"/usr/lib/postgresql/*/bin", // Debian
	"/usr/pgsql-*/bin",          // Red Hat
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

var errNoPrograms = errors.New("PostgreSQL's programs (postgres, initdb) are not in PATH, nor in " + strings.Join(installations, ", "))

func probeLocal() error {
	_, err := Programs()
	return err
}

// Programs returns the directory of postgres and initdb: the one given by EnvBin, PATH's, else the newest installed.
func Programs() (string, error) {
	if bin := os.Getenv(EnvBin); bin != "" {
		if !complete(bin) {
			return "", errors.New("no postgres and initdb there")
		}
		return filepath.Abs(bin)
	}
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := exec.CommandContext(context.Background(), "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	dirs = append(dirs, installed(installations)...)
	if i := slices.IndexFunc(dirs, complete); i >= 0 {
		return dirs[i], nil
	}
	return "", errNoPrograms
}

// installed expands the patterns, newest version first.
func installed(patterns []string) []string {
	var dirs []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	return dirs
}

// version is the number in a path such as /usr/lib/postgresql/17/bin.
func version(dir string) int {
	name := filepath.Base(filepath.Dir(dir))
	n, _ := strconv.Atoi(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz-@")) // no number: oldest
	return n
}

func complete(dir string) bool {
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// startLocal makes a cluster in a temporary directory and runs it.
func startLocal(ctx context.Context, o Options) (_ report, _ release, err error) {
	bin, err := Programs()
	if err != nil {
		return report{}, nil, err
	}
	dir, err := tempDir(clusterParent(o))
	if err != nil {
		return report{}, nil, err
	}
	var postgres *daemon
	undo := func(ctx context.Context) error {
		if postgres != nil {
			postgres.stop(ctx, syscall.SIGQUIT) // at once: nobody will read this data again
		}
		return os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
	}()

	data := filepath.Join(dir, "data")
	initdb := command(ctx, dir, filepath.Join(bin, "initdb"),
		"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return report{}, nil, fmt.Errorf("initdb: %w: %s", err, out)
	}

	r := report{Source: "local " + bin}
	err = onFreePort(ctx, func(port int) (err error) {
		r.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
		args := append([]string{"-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories="}, settings(o)...)
		probe := func(ctx context.Context) error { return isOurs(ctx, r.URL, data) }
		postgres, err = startReady(ctx, probe, dir, filepath.Join(bin, "postgres"), args...)
		return err
	})
	if err != nil {
		return report{}, nil, err
	}
	r.Version, err = ask(ctx, r.URL, "SHOW server_version")
	return r, undo, err
}

// isOurs tells our server from one that took the same port first.
func isOurs(ctx context.Context, url, data string) error {
	got, err := ask(ctx, url, "SHOW data_directory")
	if err == nil && got != data {
		return errors.New("another server has the port")
	}
	return err
}

// settings are the server's own, wherever it runs. Connections: several test binaries at once, each with
// pools of its own.
func settings(o Options) []string {
	args := []string{"-c", "max_connections=600"}
	if !o.Durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	for _, setting := range o.Settings {
		args = append(args, "-c", setting)
	}
	return args
}

// clusterParent is where a cluster's directory goes: into memory if its data may be lost and TMPDIR says nothing else. Each test's
// database is 300 files, and to make and remove them was half of the system time of the whole suite on ext4.
func clusterParent(o Options) string {
	if o.Durable || os.Getenv("TMPDIR") != "" {
		return ""
	}
	return memoryDir()
}

// tempDir makes a directory that the server's user owns, in parent or, if that is "", where temporary files go.
func tempDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "pgtest-")
	if err != nil {
		return "", err
	}
	// macOS: /var is a link, and the server reports the real path.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	return dir, own(dir)
}
