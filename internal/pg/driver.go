package pg

import (
	"database/sql"
	"reflect"
)

// isPGX reports whether pgx/stdlib serves the pool: its statements are safe everywhere.
func isPGX(db *sql.DB) bool { return driverPackage(db) == "github.com/jackc/pgx/v5/stdlib" }

// IsPQ reports whether lib/pq serves the pool.
func IsPQ(db *sql.DB) bool { return driverPackage(db) == pqPath }

// driverPackage returns the import path of the pool's driver, so that a driver is recognised without importing it.
func driverPackage(db *sql.DB) string {
	t := reflect.TypeOf(db.Driver())
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}
