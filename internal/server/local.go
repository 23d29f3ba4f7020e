package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		if !Complete(bin) {
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
	if i := slices.IndexFunc(dirs, Complete); i >= 0 {
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

// Complete reports whether a directory has the programs of a server.
func Complete(dir string) bool {
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// startLocal makes a cluster, in a temporary directory if none is given, and runs it.
func startLocal(ctx context.Context, o Options) (_ report, _ release, err error) {
	bin, err := Programs()
	if err != nil {
		return report{}, nil, err
	}
	dir, err := clusterDir(o)
	if err != nil {
		return report{}, nil, err
	}
	var postgres *daemon
	undo := func(ctx context.Context) error {
		if o.Dir != "" {
			if postgres != nil {
				postgres.stop(ctx, syscall.SIGINT)
			}
			return nil
		}
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
	if err := makeCluster(ctx, bin, dir, data); err != nil {
		return report{}, nil, err
	}
	r := report{Source: "local " + bin}
	err = onPort(ctx, o.Port, func(port int) (err error) {
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

// makeCluster runs initdb, unless there is a cluster already. It is there whole or not at all.
func makeCluster(ctx context.Context, bin, dir, data string) error {
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	half := data + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	initdb := command(ctx, dir, filepath.Join(bin, "initdb"),
		"-D", half, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	out, err := initdb.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission): // root's server is not root
		return fmt.Errorf("initdb: the user that PostgreSQL runs as cannot enter %s: %w", dir, err)
	case err != nil:
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return os.Rename(half, data)
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

// clusterDir makes the directory of a cluster: the one that is given, or a temporary one.
func clusterDir(o Options) (string, error) {
	if o.Dir == "" {
		return tempDir(clusterParent(o))
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", err
	}
	return owned(o.Dir)
}

// tempDir makes a directory that the server's user owns, in parent or, if that is "", where temporary files go.
func tempDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "pgtest-")
	if err != nil {
		return "", err
	}
	return owned(dir)
}

// owned gives a directory to the server's user, and returns its path as the server reports it.
func owned(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // macOS: /var is one
		return "", err
	}
	return dir, own(dir)
}

// CacheDir is where programs that were fetched are kept. Root's own directory is closed to the user that root's servers run as.
func CacheDir() (string, error) {
	if os.Getuid() == 0 {
		return "/var/cache/sqlworkflow-pgtest", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "sqlworkflow-pgtest"), err
}
