package workflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A login is what a server is told.
type login struct{ User, Database, Password string }

// loginServer asks whoever comes for a password and refuses it, by TCP and by a socket in a directory.
func loginServer(t *testing.T) (port, directory string, logins <-chan login) {
	t.Helper()
	come := make(chan login, 10)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	_, port, err = net.SplitHostPort(tcp.Addr().String())
	kit.Must(t, err)
	directory = socketDirectory(t)
	unix, err := net.Listen("unix", filepath.Join(directory, ".s.PGSQL."+port))
	kit.Must(t, err)
	for _, listener := range []net.Listener{tcp, unix} {
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if l, err := readLogin(conn); err == nil {
					come <- l
				}
				_ = conn.Close()
			}
		}()
	}
	return port, directory, come
}

// socketDirectory is a short path: that of a socket may have a hundred bytes or so.
func socketDirectory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "s")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

func readLogin(conn net.Conn) (l login, err error) {
	startup, err := readMessage(conn)
	if err != nil {
		return l, err
	}
	parameters := strings.Split(string(startup[4:]), "\x00") // behind the version of the protocol
	for i := 0; i+1 < len(parameters); i += 2 {
		switch parameters[i] {
		case "user":
			l.User = parameters[i+1]
		case "database":
			l.Database = parameters[i+1]
		}
	}
	if _, err := conn.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 3}); err != nil { // the password, please, as it is
		return l, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // 'p'
		return l, err
	}
	answer, err := readMessage(conn)
	l.Password = string(bytes.TrimRight(answer, "\x00"))
	return l, err
}

func readMessage(from io.Reader) ([]byte, error) {
	var length uint32
	if err := binary.Read(from, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	body := make([]byte, length-4)
	_, err := io.ReadFull(from, body)
	return body, err
}

// Whatever a driver reads reaches the server, as the driver reads it.
func TestDSNFormsReachTheServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		drivers, dsn string
		want         login
	}{
		"url":                 {"postgres pgx", "postgres://me:p%40ss@127.0.0.1:{port}/db?sslmode=disable", login{"me", "db", "p@ss"}},
		"url with fragment":   {"postgres", "postgres://me:pw@127.0.0.1:{port}/db?sslmode=disable#part", login{"me", "db", "pw"}},
		"url without a host":  {"postgres", "postgres://?host=127.0.0.1&port={port}&user=me&dbname=db&password=pw&sslmode=disable", login{"me", "db", "pw"}},
		"url with a socket":   {"postgres pgx", "postgres://me:pw@/db?host={dir}&port={port}&sslmode=disable", login{"me", "db", "pw"}},
		"url, socket as host": {"pgx", "postgres://me:pw@{%dir}:{port}/db", login{"me", "db", "pw"}},
		"url, raw # in it":    {"pgx", "postgres://me:pa#ss@127.0.0.1:{port}/db?sslmode=disable", login{"me", "db", "pa#ss"}},
		"keywords":            {"postgres pgx", "host=127.0.0.1 port={port} user=me dbname=db password=pw sslmode=disable", login{"me", "db", "pw"}},
		"keywords, // and @":  {"postgres pgx", "host=127.0.0.1 port={port} user=me dbname=db password=s//e@c sslmode=disable", login{"me", "db", "s//e@c"}},
		"keywords, like url":  {"postgres pgx", "host=127.0.0.1 port={port} user=me dbname=db password=postgres://u:p@h/d sslmode=disable", login{"me", "db", "postgres://u:p@h/d"}},
		"keywords, quoted":    {"postgres pgx", `host=127.0.0.1 port={port} user=me dbname=db sslmode=disable password='it\'s & a "b=c"'`, login{"me", "db", `it's & a "b=c"`}},
		"keywords, socket":    {"postgres pgx", "host={dir} port={port} user=me dbname=db password=pw sslmode=disable", login{"me", "db", "pw"}},
		"keywords, end empty": {"postgres pgx", "host=127.0.0.1 port={port} user=me dbname=db password=pw sslmode=disable application_name=", login{"me", "db", "pw"}},
		"keywords, \\ at end": {"postgres pgx", `host=127.0.0.1 port={port} user=me dbname=db sslmode=disable password=pw\\`, login{"me", "db", `pw\`}},
	} {
		for driver := range strings.FieldsSeq(test.drivers) {
			t.Run(name+", "+driver, func(t *testing.T) {
				t.Parallel()
				port, directory, logins := loginServer(t)
				dsn := strings.NewReplacer("{port}", port, "{dir}", directory, "{%dir}", url.PathEscape(directory)).Replace(test.dsn)
				svc, err := New(Config{DSN: dsn, Driver: driver})
				kit.Must(t, err)
				if err := svc.Init(t.Context()); err == nil {
					t.Error("connected, though refused")
				}
				kit.Must(t, svc.Close())
				if diff := cmp.Diff(test.want, kit.Receive(t, "the login", logins)); diff != "" {
					t.Errorf("login (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// By a socket a server is worked with as by TCP.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			at, err := url.Parse(pgtest.Empty(t).URL())
			kit.Must(t, err)
			directory := socketDirectory(t)
			listener, err := net.Listen("unix", filepath.Join(directory, ".s.PGSQL.5432"))
			kit.Must(t, err)
			t.Cleanup(func() { _ = listener.Close() })
			go func() {
				for {
					from, err := listener.Accept()
					if err != nil {
						return
					}
					to, err := net.Dial("tcp", at.Host)
					if err != nil {
						_ = from.Close()
						return
					}
					go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
					go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
				}
			}()
			password, _ := at.User.Password()
			svc, err := New(Config{Driver: access.Driver, DSN: fmt.Sprintf("host=%s user=%s password='%s' dbname=%s",
				directory, at.User.Username(), password, at.Path[1:])})
			kit.Must(t, err)
			defer func() { kit.Must(t, svc.Close()) }()
			kit.Must(t, svc.Init(t.Context()))
			_, err = svc.CreateRun(t.Context(), "w", 1)
			kit.Must(t, err)
		})
	}
}

func TestBinaryParametersAreAdded(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://h/db":                           "postgres://h/db?binary_parameters=yes",
		"postgres://h/db?":                          "postgres://h/db?&binary_parameters=yes",
		"postgres://h/db#f?x":                       "postgres://h/db?binary_parameters=yes#f?x",
		"postgres://u:%40@h/db?sslmode=disable&a=%": "postgres://u:%40@h/db?sslmode=disable&a=%&binary_parameters=yes",
		"postgres://?host=/run/pg&user=u":           "postgres://?host=/run/pg&user=u&binary_parameters=yes",
		"postgres://h/db?binary_parameters=yes":     "postgres://h/db?binary_parameters=yes",
		"postgres://h/db?binary%5Fparameters=no":    "postgres://h/db?binary%5Fparameters=no",
		"host=h dbname=db":                          "binary_parameters=yes host=h dbname=db",
		"host=h password=":                          "binary_parameters=yes host=h password=",
		"host=h dbname=db binary_parameters = yes":  "host=h dbname=db binary_parameters = yes",
	} {
		if got := withBinaryParameters(dsn); got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}

// initError returns the error of New, or of Init.
func initError(t *testing.T, driver, dsn string) error {
	t.Helper()
	svc, err := New(Config{DSN: dsn, Driver: driver})
	if err != nil {
		return err
	}
	defer func() { kit.Must(t, svc.Close()) }()
	return svc.Init(kit.Context(t))
}

// What is wrong can be read although the password is the same word.
func TestPasswordThatIsAWordOfTheError(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(pgtest.Empty(t).URL())
	kit.Must(t, err)
	user := at.User.Username()
	at.User = url.UserPassword(user, user)
	at.Path = "/nosuch_" + user
	absent := at.String()
	at.User = url.UserPassword(user, at.Path[1:]) // the password is the database's name
	for _, driver := range []string{"postgres", "pgx"} {
		for dsn, want := range map[string]string{
			"postgres://postgres:postgres@127.0.0.1:1/postgres?sslmode=disable":       "refused",
			"host=127.0.0.1 port=1 user=refused password=refused sslmode=disable":     "refused",
			"postgres://postgres:postgres@127.0.0.1:1/postgres?sslmode=sslmode":       "sslmode",
			"host=127.0.0.1 user=postgres password=postgres dbname=d sslmode=invalid": "sslmode",
			absent:      `database "nosuch_` + user + `" does not exist`,
			at.String(): `database "nosuch_` + user + `" does not exist`,
		} {
			err := initError(t, driver, dsn)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: %v, want %s", dsn, driver, err, want)
			}
			if strings.Contains(want, "does not exist") && kit.SQLState(err) != "3D000" {
				t.Errorf("%s with %s: SQLSTATE %q of %v, want 3D000", dsn, driver, kit.SQLState(err), err)
			}
		}
	}
}

// Whatever is wrong with a DSN, no error shows its password.
func TestNoErrorShowsThePassword(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"no colon":           "postgres//u:s3cret@127.0.0.1/db",
		"no colon, settings": "postgres//u:s3cret@127.0.0.1/db?sslmode=disable",
		"bad escape":         "postgres://u:s3cret%zz@127.0.0.1/db",
		"bad port":           "postgres://u:s3cret@127.0.0.1:x/db",
		"bad host":           "postgres://u:s3cret@[::1/db",
		"raw slash":          "postgres://u:s3cret/more@127.0.0.1:1/db",
		"raw slash first":    "postgres://u:/s3cret@127.0.0.1:1/db",
		"raw question mark":  "postgres://u:s3cret?more@127.0.0.1:1/db",
		"raw at":             "postgres://u:s3cret@more@127.0.0.1:x/db",
		"nobody there":       "postgres://u:s3cret@127.0.0.1:1/db?connect_timeout=2",
		"in the query":       "postgres://127.0.0.1:x/db?user=u&password=s3cret&sslmode=disable",
		"bad parameter":      "postgres://u:s3cret@127.0.0.1:1/db?sslmode=nonsense",
		"words":              "s3cret",
		"missing equals":     "host=127.0.0.1 password=s3cret port",
		"missing quotes":     "host=127.0.0.1 password=my s3cret port=1",
		"spaces":             "host=127.0.0.1 password = s3cret port",
		"unterminated":       "host=127.0.0.1 port=1 password='s3cret",
		"bad port in pair":   "host=127.0.0.1 password=s3cret port=x",
	} {
		for _, driver := range []string{"postgres", "pgx"} {
			err := initError(t, driver, dsn)
			if err == nil {
				t.Errorf("%s with %s: no error", name, driver)
				continue
			}
			t.Logf("%s with %s: %v", name, driver, err)
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s with %s: %v", name, driver, err)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ dsn, text, want string }{
		"as in the DSN":   {"postgres://u:pw@h/db", `cannot parse "postgres://u:pw@h/db": bad`, `cannot parse "postgres://u:xxxxx@h/db": bad`},
		"escaped":         {`postgres://u:"p"@h/db`, `parse "postgres://u:\"p\"@h/db": bad`, `parse "postgres://u:xxxxx@h/db": bad`},
		"keyword":         {"user=pw password=pw", "cannot parse user=pw password=pw", "cannot parse user=pw password=xxxxx"},
		"a part, quoted":  {"postgres://u:p/w@h/db", `invalid port ":p" after host`, `invalid port xxxxx after host`},
		"a part, at @":    {"postgres://u:/w@h/db", `database=w@h/db: refused`, `database=xxxxx: refused`},
		"also the user's": {"postgres://pw:pw@h/db", `role "pw" is odd`, `role "pw" is odd`},
		"of another word": {"postgres://u:refuse@h/db", `connection refused`, `connection refused`},
		"no password":     {"postgres://u@h:5432/db?user=a@b", `parse "postgres://u@h:5432/db?user=a@b": bad`, `parse "postgres://u@h:5432/db?user=a@b": bad`},
		"empty password":  {"user=u password=", `bad "user=u password="`, `bad "user=u password="`},
	} {
		if got := redact(test.dsn, errors.New(test.text)).Error(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// An error with the password taken out can be recognised still, and not be unwrapped to what it was.
func TestRedactedErrorIsStillKnown(t *testing.T) {
	t.Parallel()
	cause := &net.AddrError{Err: "bad", Addr: "u:pw@h"}
	err := redact("postgres://u:pw@h/db", fmt.Errorf("dial: %w", cause))
	var known *net.AddrError
	if err.Error() != "dial: address u:xxxxx@h: bad" || !errors.As(err, &known) || !errors.Is(err, cause) || errors.Unwrap(err) != nil {
		t.Errorf("%v, unwrapped: %v", err, errors.Unwrap(err))
	}
}
