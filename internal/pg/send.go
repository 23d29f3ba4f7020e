package pg

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
)

// A session is what sends a statement: a connection or a transaction.
type session interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// scanning returns the session with what maps columns to fields.
func scanning(on session) sqlx.QueryerContext {
	if tx, ok := on.(*sql.Tx); ok {
		return &sqlx.Tx{Tx: tx, Mapper: ours}
	}
	conn, _ := on.(*sql.Conn) // there are no others
	return &sqlx.Conn{Conn: conn, Mapper: ours}
}

// Get sends q and scans its only row into dest; sql.ErrNoRows when there is none.
func (d *DB) Get(ctx context.Context, dest any, q *Query, args ...any) error {
	return d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return sqlx.GetContext(ctx, scanning(on), dest, text, args...)
	})
}

// List sends q and scans its rows into the slice that dest points to.
func (d *DB) List(ctx context.Context, dest any, q *Query, args ...any) error {
	return d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return sqlx.SelectContext(ctx, scanning(on), dest, text, args...)
	})
}

// Pairs sends q and returns its rows, of two numbers each. Other than [DB.List] it looks at no column of rows that are not there, which
// is worth it where there mostly are none.
func (d *DB) Pairs(ctx context.Context, q *Query, args ...any) ([][2]int, error) {
	var pairs [][2]int
	err := d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		rows, err := on.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		pairs = nil // of a statement that was repeated
		for rows.Next() {
			var pair [2]int
			if err := rows.Scan(&pair[0], &pair[1]); err != nil {
				return err
			}
			pairs = append(pairs, pair)
		}
		return rows.Err()
	})
	if err != nil { // a call that was left behind may still write to it
		return nil, err
	}
	return pairs, nil
}

// Exec sends q and returns the number of rows that it wrote.
func (d *DB) Exec(ctx context.Context, q *Query, args ...any) (int64, error) {
	var written int64
	err := d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		result, err := on.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		written, err = result.RowsAffected()
		return err
	})
	if err != nil { // a call that was left behind may still write to it
		return 0, err
	}
	return written, nil
}

// send is the one way to the server. In a caller's transaction a statement goes out as it is. Alone, it is bounded in
// time, sent as Options.Statements says, and sent again when the server asks for it.
func (d *DB) send(ctx context.Context, q *Query, do func(context.Context, session, string) error) error {
	if d.tx != nil {
		way := inTx
		if d.own {
			way = ownTx
		}
		return do(ctx, d.tx, d.texts.of(q, way))
	}
	return d.bounded(ctx, func(ctx context.Context) error {
		return Resend(ctx, func() error { return d.sendAlone(ctx, q, do) })
	})
}

func (d *DB) sendAlone(ctx context.Context, q *Query, do func(context.Context, session, string) error) error {
	if d.opts.Statements == Single {
		return d.onConn(ctx, func(conn *sql.Conn) error { return do(ctx, conn, d.texts.of(q, alone)) })
	}
	needsNone := never
	if d.opts.Statements == Auto {
		needsNone = d.mayStandAlone
	}
	// A guard that waited for a lock has to see what the holder wrote: READ COMMITTED, whatever the application's default.
	options := sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: q.read}
	conn, tx, err := d.begin(ctx, options, needsNone)
	if err != nil {
		return err
	}
	if tx != nil {
		return d.commit(ctx, conn, tx, func(tx *sql.Tx) error { return do(ctx, tx, d.texts.of(q, ownTx)) })
	}
	if err := do(ctx, conn, d.texts.of(q, alone)); err != nil {
		d.leaveConn(conn, err)
		return err
	}
	d.giveBack(conn)
	return nil
}

const (
	resends     = 6
	resendPause = 4 * time.Millisecond // doubled each time, then jittered by half
)

// Resend calls send until it succeeds or fails for another reason than a serialization failure, a deadlock or a server that
// turned read-only, all of which leave nothing behind.
func Resend(ctx context.Context, send func() error) error {
	pause, moved := resendPause, false
	for n := 0; ; n++ {
		err := send()
		switch state := SQLState(err); {
		case n == resends:
			return err
		case state == readOnlyTransaction && !moved:
			moved = true // its connection is gone: perhaps another one leads to the primary
			continue
		case state != serializationFailure && state != deadlockDetected:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause *= 2
	}
}
