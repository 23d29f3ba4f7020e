package pgtest

import (
	"errors"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/server"
)

// Alone returns a database as [New] does, on a server that this process shares with nobody: for tests that count what a server does
// as a whole, such as the bytes of its log. Tests of other packages run at the same time, on the server of [New]; those that use
// Alone must not be parallel. Where no second server can be started it is that of New.
func Alone(t testing.TB) *Database {
	t.Helper()
	i, err := alone()
	if errors.Is(err, server.ErrNone) {
		return New(t)
	}
	if err != nil {
		t.Fatalf("pgtest: start a server for this test alone: %v", err)
	}
	template, err := i.template()
	if err != nil {
		t.Fatalf("pgtest: make template: %v", err)
	}
	return create(t, i, template)
}

// alone starts the server on first use. Its pipe stays reachable by what is remembered here.
var alone = sync.OnceValues(func() (*instance, error) {
	i := &instance{run: server.NewRun(), own: true}
	s, err := server.Start(background, server.Options{Run: i.run})
	if err != nil {
		return nil, err
	}
	i.url, i.server = s.URL, s
	i.template = sync.OnceValues(i.prepareTemplate)
	return i, nil
})
