package write

import (
	"sync"

	"github.com/sqlworkflow/workflow/store"
)

// pending is a row that waits, and then how it went. Whoever writes the row uses it again for another one, once it was told.
type pending struct {
	row     store.Write
	told    chan struct{} // one token, once it is known how it went
	outcome store.Outcome
	err     error
}

var pendings = sync.Pool{New: func() any { return &pending{told: make(chan struct{}, 1)} }}

func newPending(row store.Write) *pending {
	p, _ := pendings.Get().(*pending) // there are no others
	p.row = row
	return p
}

// tell says how it went. The sender is done with the row then.
func (p *pending) tell(outcome store.Outcome, err error) {
	p.outcome, p.err = outcome, err
	p.told <- struct{}{}
}

// answer returns how it went, after p was told.
func (p *pending) answer() (store.Outcome, error) {
	outcome, err := p.outcome, p.err
	p.row, p.outcome, p.err = nil, store.Written, nil
	pendings.Put(p)
	return outcome, err
}
