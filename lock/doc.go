// Package lock takes PostgreSQL advisory locks that end with the transaction.
//
// A lock belongs to a *sql.Tx: COMMIT or ROLLBACK releases it, and so does a lost connection. Nothing
// is kept in the session, so the locks hold behind a pooler in transaction mode, and there is no
// unlock to forget. Two transactions, of two goroutines, pools or processes, exclude each other for
// as long as the first is open; within one transaction the same key may be taken again.
//
//	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
//	…
//	err = lock.AcquireWithin(ctx, tx, lock.NewKey("shop", "public", "cart", id), 10*time.Second)
//	// read, decide, write
//	err = tx.Commit()
//
// Lock first, then read, as two statements under READ COMMITTED: a statement that takes the lock and
// reads at once, and any statement under REPEATABLE READ, reads a snapshot that is older than the lock.
//
// The locks are advisory: they guard only against those who ask for the same key on the same
// database. Some PostgreSQL-compatible services accept the functions and lock nothing, or do not
// have them; where correctness depends on exclusion, lock a row as well.
package lock
