package embedded

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow/internal/server"
)

// The library leaves an empty file for a log in the temporary folder each time.
func TestMain(m *testing.M) {
	temp, err := os.MkdirTemp("", "embedded-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", temp)
	}
	if err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(temp)
	os.Exit(status)
}

// repository serves a file, and its checksum, as Maven's does; it counts the files.
func repository(t *testing.T, file []byte, checksum string) (url string, served *atomic.Int32) {
	t.Helper()
	served = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.Contains(r.URL.Path, "/io/zonky/test/postgres/embedded-postgres-binaries-") || !strings.Contains(r.URL.Path, Version):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			_, _ = w.Write([]byte(checksum))
		default:
			served.Add(1)
			_, _ = w.Write(file)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, served
}

// archive is what is fetched: programs that do nothing but fail.
func archive(t *testing.T, name string) (file []byte, checksum string) {
	t.Helper()
	programs, err := os.ReadFile("testdata/programs.txz")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(programs); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), hex.EncodeToString(sum[:])
}

func TestFetchedOnce(t *testing.T) {
	t.Parallel()
	file, checksum := archive(t, "postgres.txz")
	url, served := repository(t, file, checksum)
	cache := filepath.Join(t.TempDir(), "cache")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if bin, err := Fetch(t.Context(), cache, url, nil); err != nil || !server.Complete(bin) {
				t.Errorf("%q, %v", bin, err)
			}
		})
	}
	both.Wait()
	before := served.Load()
	bin, err := Fetch(t.Context(), cache, "http://127.0.0.1:1", func() { t.Error("it begins again") })
	if err != nil || served.Load() != before {
		t.Errorf("what is there was fetched again, or not found: %v", err)
	}
	if info, err := os.Stat(filepath.Dir(bin)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v; want a directory that everybody may read", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 1 {
		t.Errorf("in the cache: %q, want one directory", left)
	}
}

func TestNotFetched(t *testing.T) {
	t.Parallel()
	file, checksum := archive(t, "postgres.txz")
	empty, emptySum := archive(t, "something.else")
	changed, _ := repository(t, append(file, 0), checksum)
	nothing, _ := repository(t, empty, emptySum)
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for _, test := range []struct{ name, url, says string }{
		{"nobody answers", "http://127.0.0.1:1", "unable to connect"},
		{"not there", other.URL, "no version found"},
		{"changed on its way", changed, "checksums do not match"},
		{"no programs", nothing, "cannot find binary"},
	} {
		cache := t.TempDir()
		bin, err := Fetch(t.Context(), cache, test.url, nil)
		if err == nil || bin != "" && server.Complete(bin) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), Version) {
			t.Errorf("%s: %q, %v; want %q", test.name, bin, err, test.says)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) > 0 {
			t.Errorf("%s: in the cache: %q", test.name, left)
		}
	}
}

// A download that hangs ends with the context.
func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-done
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(done) })
	if _, err := Fetch(ctx, t.TempDir(), s.URL, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}
