package pg

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"
)

// Get sends q and scans its only row into dest; sql.ErrNoRows when there is none.
func (d *DB) Get(ctx context.Context, dest any, q *Query, args ...any) error {
	return d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return on.get(ctx, dest, text, args)
	})
}

// List sends q and scans its rows into the slice that dest points to.
func (d *DB) List(ctx context.Context, dest any, q *Query, args ...any) error {
	return d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return on.list(ctx, dest, text, args)
	})
}

// Pairs sends q and returns its rows, of two numbers each. Other than [DB.List] it looks at no column of rows that are not there, which
// is worth it where there mostly are none.
func (d *DB) Pairs(ctx context.Context, q *Query, args ...any) ([][2]int, error) {
	var pairs [][2]int
	err := d.send(ctx, q, func(ctx context.Context, on session, text string) error {
		rows, err := on.rows(ctx, text, args)
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
	err := d.send(ctx, q, func(ctx context.Context, on session, text string) (err error) {
		written, err = on.exec(ctx, text, args)
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
		return do(ctx, txSession(d.tx), d.texts.of(q, way))
	}
	return d.bounded(ctx, func(ctx context.Context) error {
		return Resend(ctx, func() error { return d.sendAlone(ctx, q, do) })
	})
}

func (d *DB) sendAlone(ctx context.Context, q *Query, do func(context.Context, session, string) error) error {
	single := func(conn *sql.Conn, l *link) error {
		return l.on(ctx, conn, func(on session) error { return do(ctx, on, d.texts.of(q, alone)) })
	}
	judge := d.judge
	switch d.opts.Statements {
	case Single:
		return d.onConn(ctx, func(conn *sql.Conn) error {
			l, err := d.judge(ctx, conn)
			if err != nil {
				return err
			}
			return single(conn, l)
		})
	case InTx:
		judge = inAnyCase
	}
	// A guard that waited for a lock has to see what the holder wrote: READ COMMITTED, whatever the application's default.
	options := sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: q.read}
	b, err := d.begin(ctx, options, judge)
	if err != nil {
		return err
	}
	if b.tx != nil {
		return d.commit(ctx, b, func(tx *sql.Tx) error { return do(ctx, txSession(tx), d.texts.of(q, ownTx)) })
	}
	return d.hold.use(func() error {
		err := single(b.conn, b.link)
		discard(b.conn, err)
		d.giveBack(b.conn)
		return err
	})
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
