// Package embedded fetches PostgreSQL's programs where a machine has none, for a development server.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	postgres "github.com/fergusstrange/embedded-postgres"

	"github.com/sqlworkflow/workflow/internal/server"
)

// Version is PostgreSQL's, as it is fetched.
const Version = string(postgres.V18)

// Repository is where the programs are fetched from: Maven's central one, to which zonkyio/embedded-postgres-binaries publishes them.
const Repository = "https://repo1.maven.org/maven2"

// Fetch returns the directory of PostgreSQL's programs in a cache, the user's if it is "", and fills it from a Maven repository if they
// are not there: once, some 17 MB; begin, which may be nil, is called before that. Of several processes that do so at the same time the
// first wins. When ctx ends first, what is under way is left to the end of the process.
func Fetch(ctx context.Context, cache, repository string, begin func()) (bin string, err error) {
	if cache == "" {
		if cache, err = server.CacheDir(); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(cache, "embedded-"+Version)
	if bin = filepath.Join(dir, "bin"); server.Complete(bin) {
		return bin, nil
	}
	if begin != nil {
		begin()
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return "", err
	}
	fetched := make(chan error, 1)
	go func() { fetched <- fetch(ctx, tmp, dir, repository) }()
	select {
	case err := <-fetched:
		return bin, err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), os.RemoveAll(tmp))
	}
}

// fetch has the library download, check and unpack the programs, which it does only on its way to a server of its own. With an encoding that
// there is not it gets no further: a server of ours is a child of ours, and ends with us.
func fetch(ctx context.Context, tmp, dir, repository string) error {
	defer os.RemoveAll(tmp)
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	whole := filepath.Join(tmp, "whole")
	err = postgres.NewDatabase(postgres.DefaultConfig().
		Version(postgres.V18).
		BinaryRepositoryURL(repository).
		CachePath(filepath.Join(tmp, "archive")).
		BinariesPath(whole).
		RuntimePath(filepath.Join(tmp, "run")).
		Encoding("of a server that must not start").
		Port(port).
		Logger(io.Discard)).Start()
	if !server.Complete(filepath.Join(whole, "bin")) {
		if err == nil {
			err = errors.New("the archive has no postgres and initdb")
		}
		return fmt.Errorf("fetch PostgreSQL %s: %w", Version, err)
	}
	if err := os.Chmod(whole, 0o755); err != nil { // the server's user is to read it
		return err
	}
	if err := os.Rename(whole, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func freePort(ctx context.Context) (uint32, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return uint32(l.Addr().(*net.TCPAddr).Port), nil
}
