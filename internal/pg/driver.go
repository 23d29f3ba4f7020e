package pg

import (
	"database/sql"
	"reflect"
)

// statementsFor returns Single for a driver that is known to be safe with it everywhere, else InTx.
func statementsFor(db *sql.DB) Statements {
	if driverPackage(db) == "github.com/jackc/pgx/v5/stdlib" {
		return Single
	}
	return InTx
}

// IsPQ reports whether lib/pq serves the pool.
func IsPQ(db *sql.DB) bool { return driverPackage(db) == "github.com/lib/pq" }

// driverPackage returns the import path of the pool's driver, so that a driver is recognised without importing it.
func driverPackage(db *sql.DB) string {
	t := reflect.TypeOf(db.Driver())
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}
