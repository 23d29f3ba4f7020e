package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

var notify = pg.Define("notify", `SELECT pg_notify($1, $2)`)

// Notify sends a notification, in a transaction of its own: its commit takes a lock of the whole cluster, which nobody's rows are
// to wait for.
func (s *Store) Notify(ctx context.Context, channel, payload string) error {
	_, err := s.db.Exec(ctx, notify, channel, payload)
	return pg.Problem("notify other processes", err)
}
