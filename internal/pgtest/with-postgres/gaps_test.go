//go:build unix

package main

import "testing"

func TestMissing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lack lack
		want string
	}{
		{"nothing", lack{}, ""},
		{"only what tests can do without", lack{pooler: true}, ""},
		{"all", lack{compiler: true, npm: true, postgres: true, pooler: true},
			"missing: a C compiler (for -race); npm (for PGTEST_VERSION); " +
				"PostgreSQL (or a Docker daemon, or TEST_DATABASE_URL, for the demo DATABASE_URL). " +
				"On Debian, as root: apt-get install gcc libc6-dev npm postgresql pgbouncer"},
	} {
		got := ""
		if err := missing(test.lack.gaps()); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
