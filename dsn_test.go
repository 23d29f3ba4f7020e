package workflow

import (
	"context"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

// Whatever is wrong with a DSN, no error shows its password.
func TestNoErrorShowsThePassword(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"no colon":         "postgres//u:s3cret@127.0.0.1/db",
		"bad escape":       "postgres://u:s3cret%zz@127.0.0.1/db",
		"bad port":         "postgres://u:s3cret@127.0.0.1:x/db",
		"nobody there":     "postgres://u:s3cret@127.0.0.1:1/db?connect_timeout=2",
		"bad parameter":    "postgres://u:s3cret@127.0.0.1:1/db?sslmode=s3cret",
		"words":            "s3cret",
		"missing equals":   "host=127.0.0.1 password=s3cret port",
		"unterminated":     "host=127.0.0.1 port=1 password='s3cret",
		"bad port in pair": "host=127.0.0.1 password=s3cret port=x",
	} {
		for _, driver := range []string{"postgres", "pgx"} {
			svc, err := New(Config{DSN: dsn, Driver: driver, Timeout: 5 * time.Second})
			if err == nil {
				err = svc.Init(context.Background())
				if closed := svc.Close(); closed != nil {
					t.Error(closed)
				}
			}
			if err == nil {
				t.Errorf("%s with %s: no error", name, driver)
			} else if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s with %s: %v", name, driver, err)
			}
		}
	}
}

func TestBinaryParametersAreAdded(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]struct {
		dsn    string
		binary bool
	}{
		"postgres://h/db":                          {"postgres://h/db?binary_parameters=yes", true},
		"postgres://h/db?sslmode=disable":          {"postgres://h/db?binary_parameters=yes&sslmode=disable", true},
		"postgres://h/db?binary_parameters=yes":    {"postgres://h/db?binary_parameters=yes", true},
		"postgres://h/db?binary_parameters=no":     {"postgres://h/db?binary_parameters=no", false},
		"host=h dbname=db":                         {"host=h dbname=db binary_parameters=yes", true},
		"host=h dbname=db binary_parameters = yes": {"host=h dbname=db binary_parameters = yes", false},
	} {
		if got, binary := withBinaryParameters(dsn); got != want.dsn || binary != want.binary {
			t.Errorf("%s: %s, %t; want %s, %t", dsn, got, binary, want.dsn, want.binary)
		}
	}
}
