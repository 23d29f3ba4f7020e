package workflow

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Of a pool that New opens: database/sql's default of two idle connections would reconnect all the time.
const (
	ownIdleConns    = 16
	ownConnLifetime = 30 * time.Minute
)

// open opens the pool that DSN names, without I/O, and says how its lone statements may be sent.
func (c Config) open() (*sql.DB, Statements, error) {
	if err := checkDSN(c.DSN); err != nil {
		return nil, 0, err
	}
	db, err := sql.Open(c.Driver, c.DSN)
	if err != nil {
		return nil, 0, c.unreadable()
	}
	statements := c.Statements
	if store.IsPQ(db) {
		dsn, binary := withBinaryParameters(c.DSN)
		if err := db.Close(); err != nil {
			return nil, 0, fmt.Errorf("workflow: open Config.DSN: %w", err)
		}
		if db, err = sql.Open(c.Driver, dsn); err != nil {
			return nil, 0, c.unreadable()
		}
		if statements == StatementsAuto && binary {
			statements = StatementsSingle
		}
	}
	db.SetMaxIdleConns(ownIdleConns)
	db.SetConnMaxLifetime(ownConnLifetime)
	return db, statements, nil
}

// unreadable says so without the driver's message, which may quote the DSN, and with it the password.
func (c Config) unreadable() error {
	return fmt.Errorf("workflow: Config.DSN is not one that the driver %q can read", c.Driver)
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// checkDSN finds what a driver would find only when it connects.
func checkDSN(dsn string) error {
	if isURL(dsn) {
		if _, err := url.Parse(dsn); err != nil {
			return errors.New("workflow: Config.DSN is not a valid URL: " +
				"in user and password, write special characters as %XX")
		}
		return nil
	}
	if !strings.Contains(dsn, "=") || strings.Contains(dsn, "//") && strings.Contains(dsn, "@") {
		return errors.New("workflow: Config.DSN is neither postgres://user:password@host/database " +
			"nor of the form host=… dbname=…")
	}
	return nil
}

var passwords = []*regexp.Regexp{
	regexp.MustCompile(`//[^:@/]*:([^@]+)@`),
	regexp.MustCompile(`password\s*=\s*'?([^\s'&]+)`),
}

// redact replaces an error of the driver that quotes the password of a DSN of ours.
func (c Config) redact(err error) error {
	if err == nil {
		return nil
	}
	for _, password := range passwords {
		for _, found := range password.FindAllStringSubmatch(c.DSN, -1) {
			if strings.Contains(err.Error(), found[1]) {
				return c.unreadable()
			}
		}
	}
	return err
}

// withBinaryParameters adds lib/pq's binary_parameters=yes when the DSN does not say, and reports whether the DSN that
// it returns has it: a statement with arguments is then one round trip, which is faster and safe behind poolers.
func withBinaryParameters(dsn string) (string, bool) {
	const parameter = "binary_parameters"
	if isURL(dsn) {
		u, err := url.Parse(dsn)
		if err != nil {
			return dsn, false
		}
		values := u.Query()
		if !values.Has(parameter) {
			values.Set(parameter, "yes")
			u.RawQuery = values.Encode()
			return u.String(), true
		}
		return dsn, values.Get(parameter) == "yes"
	}
	if !strings.Contains(dsn, parameter) {
		return dsn + " " + parameter + "=yes", true
	}
	return dsn, false // it says something: what, only the driver knows
}
