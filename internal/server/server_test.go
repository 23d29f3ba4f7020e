package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Not parallel: it takes everything away that could lead to a server.
func TestNoServerAnywhere(t *testing.T) {
	kept := installations
	t.Cleanup(func() { installations = kept })
	installations = nil
	t.Setenv("PATH", "")
	t.Setenv("DOCKER_HOST", "unix:///nowhere")
	for _, name := range []string{EnvBin, EnvSource} {
		t.Setenv(name, "")
	}

	_, _, err := startPostgres(t.Context(), Options{})
	if !errors.Is(err, ErrNone) {
		t.Fatalf("startPostgres: %v, want ErrNone", err)
	}
	for _, way := range []string{EnvTestURL, EnvDemoURL, "Docker", EnvBin} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("error %q does not name %s", err, way)
		}
	}

	if _, _, err = startPostgres(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, ErrNone) {
		t.Errorf("startPostgres, with data to keep: %v, want ErrNone", err)
	}

	t.Setenv(EnvSource, "local")
	if _, _, err = startPostgres(t.Context(), Options{URL: "postgres://not-asked"}); !errors.Is(err, errNoPrograms) {
		t.Errorf("startPostgres, forced to local: %v, want errNoPrograms", err)
	}
}

func TestNewestInstallation(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"9.6/bin", "14/bin", "17/bin", "postgresql@18/bin", "pgsql-16/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, dir := range installed([]string{root + "/*/bin"}) {
		rel, _ := filepath.Rel(root, filepath.Dir(dir))
		got = append(got, rel)
	}
	want := []string{"postgresql@18", "17", "pgsql-16", "14", "9.6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"postgres://me@host", "postgres://me@host/postgres?sslmode=disable"},
		{"postgresql://me:pw@host:6000/db?sslmode=verify-full", "postgresql://me:pw@host:6000/db?sslmode=verify-full"},
		{"postgres://me@host/db?application_name=x", "postgres://me@host/db?application_name=x&sslmode=disable"},
		{"host=x dbname=y", ""},
		{"postgres://me@host:port/db", ""},
	} {
		got, _, err := normalize(test.in)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("normalize(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestSplitImage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, repository, tag string }{
		{"postgres", "postgres", "latest"},
		{"postgres:17-alpine", "postgres", "17-alpine"},
		{"registry:5000/postgres", "registry:5000/postgres", "latest"},
		{"registry:5000/postgres:14", "registry:5000/postgres", "14"},
	} {
		if repository, tag := splitImage(test.in); repository != test.repository || tag != test.tag {
			t.Errorf("splitImage(%q) = %q, %q", test.in, repository, tag)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ endpoint, host, bind string }{
		{"unix:///var/run/docker.sock", "127.0.0.1", "127.0.0.1"},
		{"tcp://build.example:2375", "build.example", "0.0.0.0"},
	} {
		if host, bind := addresses(test.endpoint); host != test.host || bind != test.bind {
			t.Errorf("addresses(%q) = %q, %q", test.endpoint, host, bind)
		}
	}
}

func TestPoolerKeepsPrepared(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"PgBouncer 1.18.0\nlibevent 2.1.12-stable": false,
		"PgBouncer version 1.9.0":                  false,
		"PgBouncer 1.21.0":                         true,
		"PgBouncer 1.24.1":                         true,
		"PgBouncer 2.0.0":                          true,
	} {
		if got, err := keepsPrepared([]byte(text)); got != want || err != nil {
			t.Errorf("keepsPrepared(%q) = %t, %v", text, got, err)
		}
	}
	if _, err := keepsPrepared([]byte("something else")); err == nil {
		t.Error("keepsPrepared: no error without a version")
	}
}

func TestMajor(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"15.18 (Debian 15.18-0+deb12u1)": "15", "18beta1": "18", "14": "14"} {
		if got := major(version); got != want {
			t.Errorf("major(%q) = %q, want %q", version, got, want)
		}
	}
}
