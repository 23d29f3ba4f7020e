// Package pgxnotify is a notifier on pgx, for Config.Notifier of package workflow.
package pgxnotify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notifier hears notifications on a connection of its own, which it has while it listens.
type Notifier struct{ config *pgx.ConnConfig }

// errDSN says nothing of the DSN, nor what the driver says of it: either may quote the password.
var errDSN = errors.New("pgxnotify: the DSN cannot be read: is it a URL, or key=value? " +
	"In user and password of a URL, special characters are written as %XX")

// New returns a notifier for a connection string, in any form that pgx reads. It must lead to the server directly, not through a
// pooler, and to the database of the service; the role needs no right but to connect. New does not connect.
func New(dsn string) (*Notifier, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errDSN
	}
	return &Notifier{config: config}, nil
}

// NewWithConfig is New for a configuration that [pgx.ParseConfig] has made and the application has changed, such as its TLS. It is
// copied.
func NewWithConfig(config *pgx.ConnConfig) *Notifier { return &Notifier{config: config.Copy()} }

// Listen listens on a channel until ctx ends or the connection fails, and returns why. ready is called when LISTEN is in force, heard
// for each notification.
func (n *Notifier) Listen(ctx context.Context, channel string, ready func(), heard func(payload string)) error {
	conn, err := pgx.ConnectConfig(ctx, n.config)
	if err != nil {
		return fmt.Errorf("pgxnotify: %w", err)
	}
	defer hangUp(conn)
	// By the simple protocol: a pooler that would take part in anything else is told by what is not heard.
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize(), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("pgxnotify: listen: %w", err)
	}
	ready()
	for {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("pgxnotify: %w", err)
		}
		heard(notification.Payload)
	}
}

// goodbye bounds how long a connection takes to end. pgx takes much longer for one that has failed, in a goroutine of its own.
const goodbye = time.Second

func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
		_ = conn.PgConn().Conn().Close()
	}
}
