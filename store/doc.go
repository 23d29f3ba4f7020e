// Package store reads and writes the tables of sqlworkflow: rows in, rows out, on a [database/sql.DB] or inside a
// [database/sql.Tx]. It is the only package that knows their columns, and the only one that begins a transaction on them.
//
// Applications import the root package, which re-exports the types and errors declared here. The functions of this
// package carry no promise of compatibility beyond what the root re-exports: they take what the root has already
// checked and encoded.
//
// # One statement, one outcome
//
// Every write is one statement that first locks the run's row (the guard), then writes only if the run is in a state
// that allows it, and answers with what the guard saw. So an expected outcome (not found, finished, owned) is read from
// a row and is never an error of the server, which would abort a transaction of the caller.
//
// On its own a statement takes FOR SHARE where it only needs the run to stay as it is. Inside a caller's transaction
// it takes FOR NO KEY UPDATE, because a second write of the same transaction would have to upgrade the lock, and two
// callers that both upgrade deadlock. There it also skips a locked row, and waits for it within a savepoint, so that
// waiting has a bound and its end does not abort the caller.
package store
