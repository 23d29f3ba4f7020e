package pg_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/server"
)

// Under TLS and on a Unix socket a connection is as direct as it is on bare TCP; it is not when somebody stands in between.
func TestDirectByTLSAndSocket(t *testing.T) {
	bin, err := server.Programs()
	if err != nil {
		t.Skipf("NOT RUN: a server with TLS and a socket: %v", err)
	}
	dir, err := os.MkdirTemp("", "pgtest-wires-")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	writeCertificate(t, dir)
	initdb := "#!/bin/sh\n'" + bin + "/initdb' \"$@\" && cp " + dir + "/server.* \"$2\" && chmod 600 \"$2/server.key\"\n"
	kit.Must(t, os.WriteFile(filepath.Join(dir, "initdb"), []byte(initdb), 0o755))
	kit.Must(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte("#!/bin/sh\nexec '"+bin+"/postgres' \"$@\"\n"), 0o755))
	kit.Must(t, os.Chmod(dir, 0o755)) // the server runs as another user when we are root
	t.Setenv(server.EnvBin, dir)
	t.Setenv(server.EnvSource, "local")
	s, err := server.Start(t.Context(), server.Options{Run: server.NewRun(), Settings: []string{"ssl=on", "unix_socket_directories=."}})
	kit.Must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	address, err := url.Parse(s.URL)
	kit.Must(t, err)
	side, err := sql.Open("postgres", s.URL)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, side.Close()) })
	kit.Exec(t, side, `CREATE TABLE things (n int)`)
	data := kit.One[string](t, side, `SHOW data_directory`)
	proxy := newProxy(t, address.Host)
	onSocket := func(dir string) string {
		return fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%s&sslmode=disable", url.QueryEscape(dir), address.Port())
	}
	socketTrips := int64(4)
	if runtime.GOOS == "linux" {
		socketTrips = 1
	}

	for name, test := range map[string]struct {
		dsn   string
		tls   bool
		trips int64
	}{
		"tls":                 {fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=require", address.Host), true, 1},
		"tls by another":      {fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=require", proxy.addr), true, 4},
		"tcp by another":      {fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", proxy.addr), false, 4},
		"a socket":            {onSocket(data), false, socketTrips},
		"a socket by another": {onSocket(newSocketProxy(t, filepath.Join(data, ".s.PGSQL."+address.Port()))), false, 4},
	} {
		t.Run(name, func(t *testing.T) {
			db, w := openPQ(t, test.dsn)
			st := pg.New(db, pg.Options{Timeout: kit.Patience})
			if tls := kit.One[bool](t, db, `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`); tls != test.tls {
				t.Fatalf("tls: %t", tls)
			}
			_, err := st.Exec(t.Context(), writeOne, 1)
			kit.Must(t, err)
			costs(t, st, w, test.trips)
		})
	}
}

func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	kit.Must(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	kit.Must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	kit.Must(t, err)
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: certificate},
		"server.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		kit.Must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644))
	}
}
