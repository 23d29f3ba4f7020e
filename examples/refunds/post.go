package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// post pretends to be the client of a provider that delivers messages.
type post struct {
	db *sql.DB // the provider's, in truth
}

const unknownAddress = "unknown address" // a code, for programs to match on

// deliver is the step that a notification consists of. It runs again, as the answer is lost: the key keeps the message from being
// delivered twice.
func (p *post) deliver(ctx context.Context, message Message) (string, error) {
	if err := network(ctx); err != nil {
		return "", err
	}
	if strings.HasPrefix(message.To, "unknown") {
		return "", workflow.Final(&workflow.Error{Code: unknownAddress, Message: "nobody is called " + message.To})
	}
	sent, err := p.db.ExecContext(ctx, `
		INSERT INTO example_refunds.messages (key, recipient, text) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO NOTHING`, workflow.IdempotencyKey(ctx), message.To, message.Text)
	if err != nil {
		return "", err
	}
	if n, err := sent.RowsAffected(); err != nil || n == 1 { // the first answer is lost here, too
		return "", errors.Join(err, errNoAnswer)
	}
	return "told " + message.To, network(ctx)
}
