package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// payments pretends to be the client of a payment provider, with a network between here and there. As real ones do, the
// provider takes an idempotency key: asked again with the same key, it answers with the first charge.
type payments struct {
	db *sql.DB // the provider's, in truth
}

// What may go wrong: the provider says no, which is final, or there is no answer, which tells nothing.
var (
	errDeclined = errors.New("card declined")
	errNoAnswer = errors.New("no answer from the payment provider")
)

const cardLimit = 800_00 // cents

// charge returns the id of the payment.
func (p *payments) charge(ctx context.Context, key, reference string, cents int) (id string, err error) {
	if err := network(ctx); err != nil {
		return "", err
	}
	if cents > cardLimit {
		return "", errDeclined
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
	// If the process dies here, or the answer is lost, the card is charged and we do not know.
	return fmt.Sprintf("pay_%d", number), network(ctx)
}

// network takes its time, and now and then loses what it should carry.
func network(ctx context.Context) error {
	select {
	case <-time.After(5*time.Millisecond + rand.N(30*time.Millisecond)):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if rand.N(15) == 0 {
		return errNoAnswer
	}
	return nil
}
