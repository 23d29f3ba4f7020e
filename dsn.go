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

// open opens the pool that DSN names, without I/O, and says how its lone statements may be sent. Only the driver knows what a
// DSN means: none that it would accept is refused or rewritten here.
func (c Config) open() (*sql.DB, Statements, error) {
	db, err := sql.Open(c.Driver, c.DSN)
	if err != nil {
		return nil, 0, fmt.Errorf("workflow: open Config.DSN: %w", redact(c.DSN, err))
	}
	dsn, statements := c.DSN, c.Statements
	if store.IsPQ(db) {
		var binary bool
		if dsn, binary = withBinaryParameters(dsn); binary && statements == StatementsAuto {
			statements = StatementsSingle
		}
	}
	pool, err := discreet(db.Driver(), dsn, c.DSN)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, 0, fmt.Errorf("workflow: open Config.DSN: %w", redact(c.DSN, err))
	}
	pool.SetMaxIdleConns(ownIdleConns)
	pool.SetConnMaxLifetime(ownConnLifetime)
	return pool, statements, nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

const binaryParameters = "binary_parameters"

// withBinaryParameters adds lib/pq's binary_parameters=yes to a DSN that does not set it, and reports whether it is set to yes
// in the DSN that it returns. A statement with arguments is then one round trip, which is faster, and safe behind poolers. The
// rest of the DSN stays as it is, letter for letter.
func withBinaryParameters(dsn string) (_ string, binary bool) {
	if !isURL(dsn) {
		if strings.Contains(dsn, binaryParameters) {
			return dsn, false // set, perhaps: to what, only the driver knows
		}
		return binaryParameters + "=yes " + dsn, true // in front: DSN may end in an empty value
	}
	u, err := url.Parse(dsn) // as lib/pq does
	if err != nil {
		return dsn, false
	}
	if values := u.Query(); values.Has(binaryParameters) {
		return dsn, values.Get(binaryParameters) == "yes"
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
	return dsn, true
}
