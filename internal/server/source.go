package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A source is a way to a server. probe says why it cannot be used here, in milliseconds.
type source struct {
	name  string
	probe func() error
	start func(context.Context, Options) (report, release, error)
	keeps bool // data, in Options.Dir
}

// startPostgres takes the first source that serves.
func startPostgres(ctx context.Context, o Options) (report, release, error) {
	forced, bin := os.Getenv(EnvSource), os.Getenv(EnvBin)
	if o.URL != "" && forced == "" {
		return useExternal(ctx, o)
	}
	candidates, err := sources(forced, bin)
	if err != nil {
		return report{}, nil, err
	}
	if o.Dir != "" {
		candidates = slices.DeleteFunc(candidates, func(s source) bool { return !s.keeps })
	}
	var notes []string
	for _, s := range candidates {
		r, undo, err := s.take(ctx, o)
		switch {
		case err == nil:
			r.Notes = notes
			return r, undo, nil
		case forced != "":
			return report{}, nil, fmt.Errorf("%s=%s: %w", EnvSource, forced, err)
		case bin != "":
			return report{}, nil, fmt.Errorf("%s=%s: %w", EnvBin, bin, err)
		case ctx.Err() != nil:
			return report{}, nil, ctx.Err()
		case !errors.Is(err, errNotHere):
			// It is there but does not work. The next one may, yet the reader should know.
			notes = append(notes, fmt.Sprintf("%s: %v", s.name, err))
		}
	}
	if probeLocal() == nil { // and yet it did not start
		return report{}, nil, errors.New("start PostgreSQL: " + strings.Join(notes, "; "))
	}
	return report{}, nil, absent(notes)
}

// Available reports whether Start would find anything to take or start a server from, without doing so.
func Available(o Options) bool {
	forced, bin := os.Getenv(EnvSource), os.Getenv(EnvBin)
	if o.URL != "" || forced != "" || bin != "" { // what was asked for is taken, or its own error says why not
		return true
	}
	return probeDocker() == nil || probeLocal() == nil
}

// errNotHere is a source that this machine lacks.
var errNotHere = errors.New("not available")

func (s source) take(ctx context.Context, o Options) (report, release, error) {
	if err := s.probe(); err != nil {
		return report{}, nil, fmt.Errorf("%w: %w", errNotHere, err)
	}
	return s.start(ctx, o)
}

// absent is ErrNone and what was tried nevertheless.
type absent []string

func (a absent) Error() string {
	return strings.Join(append([]string{ErrNone.Error()}, a...), "\nnot used: ")
}

func (absent) Is(target error) bool { return target == ErrNone }

func sources(forced, bin string) ([]source, error) {
	docker := source{"docker", probeDocker, startDocker, false}
	local := source{"local", probeLocal, startLocal, true}
	switch {
	case forced == "docker":
		return []source{docker}, nil
	case forced == "local", forced == "" && bin != "": // who names the programs wants them, not a fallback
		return []source{local}, nil
	case forced == "":
		return []source{docker, local}, nil
	}
	return nil, fmt.Errorf("%s=%s: must be docker or local", EnvSource, forced)
}
