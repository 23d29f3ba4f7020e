package workflow

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// For a pool that New opens. With database/sql's default of two idle connections it would reconnect all the time.
const (
	ownIdleConns    = 16
	ownConnLifetime = 30 * time.Minute
)

// open opens the pool that DSN names, without I/O. Only the driver knows what a DSN means: none that it would accept is refused
// or rewritten here.
func (c Config) open() (*sql.DB, error) {
	db, err := sql.Open(c.Driver, c.DSN)
	if err != nil {
		return nil, fmt.Errorf("workflow: open Config.DSN: %w", redact(c.DSN, err))
	}
	dsn := c.DSN
	if store.IsPQ(db) {
		dsn = withBinaryParameters(dsn)
	}
	pool, err := discreet(db.Driver(), dsn, c.DSN)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("workflow: open Config.DSN: %w", redact(c.DSN, err))
	}
	pool.SetMaxIdleConns(ownIdleConns)
	pool.SetConnMaxLifetime(ownConnLifetime)
	return pool, nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

const binaryParameters = "binary_parameters"

// withBinaryParameters adds lib/pq's binary_parameters=yes to a DSN that does not set it. A statement with arguments is then one
// round trip, which is faster, and safe behind poolers. The rest of the DSN stays as it is, letter for letter.
func withBinaryParameters(dsn string) string {
	if !isURL(dsn) {
		if strings.Contains(dsn, binaryParameters) {
			return dsn // set, perhaps: to what, only the driver knows
		}
		return binaryParameters + "=yes " + dsn // in front: DSN may end in an empty value
	}
	u, err := url.Parse(dsn) // as lib/pq does
	if err != nil || u.Query().Has(binaryParameters) {
		return dsn
	}
	dsn, fragment, hasFragment := strings.Cut(dsn, "#")
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	dsn += separator + binaryParameters + "=yes"
	if hasFragment {
		dsn += "#" + fragment
	}
	return dsn
}
