package store_test

import (
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Of a time-out and an answer by the statement the first one stays, in both orders.
func TestAnswerFromSQLOrTimeOut(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		text, _ := documented(t, answerSection, 2)
		answer := func(on kit.Execer, id string) (int64, error) {
			done, err := on.ExecContext(t.Context(), strings.NewReplacer("'order-17'", quoted(id), "'translate'", "'wait'").Replace(text))
			if err != nil {
				return 0, err
			}
			return done.RowsAffected()
		}

		id := b.ownedRun(t)
		b.opened(t, id, "wait", store.SignalStep)
		tx := kit.Begin(t, b.db)
		n, err := answer(tx, id)
		kit.Must(t, err)
		wrote(t, st, store.Locked, decisions(id)["time-out"])
		kit.Must(t, tx.Commit())
		wrote(t, st, store.Woken, decisions(id)["time-out"])
		if got := b.step(t, id, "wait"); n != 1 || got != `succeeded signal 1 7 9 "who" "une tasse"` {
			t.Errorf("the answer first: %d, %s", n, got)
		}

		id = b.ownedRun(t)
		b.opened(t, id, "wait", store.SignalStep)
		writing := kit.Begin(t, b.db)
		wrote(t, st.In(writing), store.Written, decisions(id)["time-out"])
		answering := kit.Begin(t, b.db)
		answered := kit.Go(t, func() int64 {
			n, err := answer(answering, id)
			if err != nil {
				t.Error(err)
			}
			return n
		})
		kit.Waiters(t, b.side, 1)
		kit.Must(t, writing.Commit())
		n = kit.Receive(t, "the answer", answered)
		kit.Must(t, answering.Commit())
		if got := b.step(t, id, "wait"); n != 0 || !strings.HasPrefix(got, "failed signal") {
			t.Errorf("the time-out first: %d, %s", n, got)
		}
	})
}
