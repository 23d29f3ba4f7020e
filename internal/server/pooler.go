package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNoPooler is returned where the pgbouncer program is not installed.
var ErrNoPooler = errors.New("no such program (Debian: apt-get install pgbouncer; " + EnvPooler + "=path names another)")

// PoolerProgram returns the path of pgbouncer, or ErrNoPooler.
func PoolerProgram() (string, error) {
	// Debian's directory is not in everybody's PATH.
	names := []string{"pgbouncer", "/usr/sbin/pgbouncer"}
	if path := os.Getenv(EnvPooler); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoPooler
}

var poolerVersion = regexp.MustCompile(`PgBouncer (?:version )?(\d+)\.(\d+)`)

// KeepsPrepared reports whether the program keeps track of prepared statements in transaction mode: since 1.21.
func KeepsPrepared(ctx context.Context, program string) (bool, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return false, fmt.Errorf("pgbouncer --version: %w", err)
	}
	return keepsPrepared(out)
}

func keepsPrepared(version []byte) (bool, error) {
	m := poolerVersion.FindSubmatch(version)
	if m == nil {
		return false, fmt.Errorf("pgbouncer --version: no version in %q", version)
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	return major > 1 || minor >= 21, nil
}

// startPooler runs PgBouncer in front of the server at upstream.
func startPooler(ctx context.Context, upstream, mode string) (_ report, _ release, err error) {
	program, err := PoolerProgram()
	if err != nil {
		return report{}, nil, err
	}
	extra := []string{"pool_mode = " + mode}
	switch keeps, err := KeepsPrepared(ctx, program); {
	case err != nil:
		return report{}, nil, err
	case keeps:
		extra = append(extra, "max_prepared_statements = 200")
	}
	dir, err := tempDir("")
	if err != nil {
		return report{}, nil, err
	}
	var bouncer *daemon
	undo := func(ctx context.Context) error {
		if bouncer != nil {
			bouncer.stop(ctx, os.Kill) // it has no state; what SIGTERM means depends on its version
		}
		return os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
	}()

	var r report
	err = onFreePort(ctx, func(port int) (err error) {
		name := "pgtest_probe_" + rand.Text()
		file := filepath.Join(dir, "pgbouncer.ini")
		if err := writeConfig(file, upstream, name, port, extra...); err != nil {
			return err
		}
		r.URL = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		u := url.URL{Scheme: "postgres", User: url.User("probe"), Host: r.URL, Path: "/" + name, RawQuery: "sslmode=disable"}
		probe := func(ctx context.Context) error {
			_, err := ask(ctx, u.String(), "SELECT 1")
			return err
		}
		bouncer, err = startReady(ctx, probe, dir, program, file)
		return err
	})
	return r, undo, err
}

// writeConfig lets every database name through, and one name that only this PgBouncer knows: who answers
// to that is ours, whatever else listens on the port.
//
// The pool is small so that clients really share servers. auth_type any logs everybody in as upstream's user.
func writeConfig(file, upstream, probe string, port int, extra ...string) error {
	config, err := pgx.ParseConfig(upstream)
	if err != nil {
		return errors.New("parse the server's URL for pgbouncer") // the cause would show the password
	}
	server := fmt.Sprintf("host=%s port=%d user=%s", quote(config.Host), config.Port, quote(config.User))
	if config.Password != "" { // an empty value is a syntax error
		server += " password=" + quote(config.Password)
	}
	tls := "disable"
	if config.TLSConfig != nil {
		tls = "require"
	}
	lines := append([]string{
		"[databases]",
		probe + " = " + server + " dbname=" + quote(config.Database),
		"* = " + server,
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		"listen_port = " + strconv.Itoa(port),
		"unix_socket_dir =",
		"auth_type = any",
		"default_pool_size = 3",
		"max_client_conn = 1000",
		"server_tls_sslmode = " + tls,
		"server_idle_timeout = 10",
		"server_login_retry = 1",
		"query_wait_timeout = 60",
		"ignore_startup_parameters = extra_float_digits", // which lib/pq sends
	}, extra...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return own(file)
}

func quote(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }
