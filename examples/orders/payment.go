package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"
)

// payments pretends to be the client of a payment provider, with a network between here and there. As real ones do, the
// provider takes an idempotency key: asked again with the same key, it answers with the first charge.
type payments struct {
	db *sql.DB // the provider's, in truth
}

// charge returns the id of the payment.
func (p *payments) charge(ctx context.Context, key, reference string, cents int) (id string, err error) {
	if err := network(ctx); err != nil {
		return "", err
	}
	var number int64
	var charged int
	err = p.db.QueryRowContext(ctx, `
		INSERT INTO example_shop.payments AS p (key, reference, cents) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO UPDATE SET requests = p.requests + 1
		RETURNING id, cents`, key, reference, cents).Scan(&number, &charged)
	if err != nil {
		return "", err
	}
	if charged != cents {
		return "", fmt.Errorf("payment %s: the key was used for %d cents before, not %d", key, charged, cents)
	}
	// A process that dies here has charged the card and does not know.
	return fmt.Sprintf("pay_%d", number), network(ctx)
}

// network takes its time.
func network(ctx context.Context) error {
	select {
	case <-time.After(5*time.Millisecond + rand.N(30*time.Millisecond)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
