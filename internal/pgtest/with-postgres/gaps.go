//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/sqlworkflow/workflow/internal/server"
)

// A lack is what a run wants of the machine and does not find there.
type lack struct{ compiler, npm, postgres, pooler bool }

// A gap is something that the machine lacks.
type gap struct {
	what     string
	packages []string // of Debian
	optional bool     // what needs it is skipped and reported at the end
}

// look looks at the machine.
func (o options) look(so server.Options, b *build) lack {
	_, pooler := server.PoolerProgram()
	return lack{
		compiler: slices.Contains(o.command, "-race") && !has(os.Getenv("CC"), "gcc", "clang"),
		npm:      b != nil && !b.isThere() && !has("npm"),
		postgres: b == nil && !server.Available(so),
		pooler:   !o.demo && errors.Is(pooler, server.ErrNoPooler),
	}
}

// has reports whether one of the programs is in PATH.
func has(programs ...string) bool {
	return slices.ContainsFunc(programs, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
}

func (l lack) gaps() (all []gap) {
	if l.compiler {
		all = append(all, gap{what: "a C compiler (for -race)", packages: []string{"gcc", "libc6-dev"}})
	}
	if l.npm {
		all = append(all, gap{what: "npm (for " + server.EnvVersion + ")", packages: []string{"npm"}})
	}
	if l.postgres {
		all = append(all, gap{what: "PostgreSQL (or a Docker daemon, or " + server.EnvTestURL + ", for the demo " + server.EnvDemoURL + ")",
			packages: []string{"postgresql"}})
	}
	if l.pooler {
		all = append(all, gap{what: "pgbouncer", packages: []string{"pgbouncer"}, optional: true})
	}
	return all
}

func packages(gaps []gap) (all []string) {
	for _, g := range gaps {
		all = append(all, g.packages...)
	}
	return all
}

// missing names everything that is, and the command that brings it, in one line. It is nil if the run can do without.
func missing(gaps []gap) error {
	var what []string
	for _, g := range gaps {
		if !g.optional {
			what = append(what, g.what)
		}
	}
	if what == nil {
		return nil
	}
	return errors.New("missing: " + strings.Join(what, "; ") +
		". On Debian, as root: apt-get install " + strings.Join(packages(gaps), " "))
}
