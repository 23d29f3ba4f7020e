package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A plainSender sends signals by the statement of docs/operations.md, as whoever copies it does.
type plainSender struct{ text string }

func newPlainSender(t *testing.T) plainSender {
	t.Helper()
	document, err := os.ReadFile("../docs/operations.md")
	kit.Must(t, err)
	_, section, _ := strings.Cut(string(document), "\n## Sending a signal from SQL\n")
	_, block, _ := strings.Cut(section, "```sql\n")
	text, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("docs/operations.md has no statement for it")
	}
	return plainSender{text}
}

// send returns how many rows the statement updated.
func (p plainSender) send(ctx context.Context, on kit.Execer, s store.NewSignal) (int64, error) {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	key := "NULL"
	if s.Key != "" {
		key = quoted(s.Key)
	}
	text := strings.NewReplacer("'refund-4711'", quoted(s.RunID), "'booked'", quoted(s.Name), "'webhook-1'", key,
		`'{"amount": 100}'`, quoted(string(s.Payload))).Replace(p.text)
	result, err := on.ExecContext(ctx, text)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// The statement that is documented for whoever has no Go does what SendSignal does, alone and in a transaction.
func TestSignalFromSQL(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, plain := writer(t, b), newPlainSender(t)
		by := map[string]func(store.NewSignal) bool{
			"Go": func(s store.NewSignal) bool {
				sent, err := st.SendSignal(t.Context(), s)
				if err != nil {
					kit.WantIs(t, err, store.ErrRunFinished)
				}
				return sent
			},
			"SQL": func(s store.NewSignal) bool {
				n, err := plain.send(t.Context(), b.db, s)
				kit.Must(t, err)
				return n == 1
			},
			"SQL, in a transaction": func(s store.NewSignal) bool {
				tx := kit.Begin(t, b.db)
				n, err := plain.send(t.Context(), tx, s)
				kit.Must(t, err)
				kit.Must(t, tx.Commit())
				return n == 1
			},
		}
		type outcome struct {
			Sent    []bool
			Stands  []string
			Signals []store.Signal
		}
		got := map[string]outcome{}
		for name, send := range by {
			var o outcome
			parked := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a"}})
			owned, finished := b.ownedRun(t), b.runIn(t, store.RunCompleted)
			for _, s := range []store.NewSignal{
				{RunID: parked, Name: "b"},
				{RunID: parked, Name: "a", Key: "k"},
				{RunID: parked, Name: "a", Key: "k"},
				{RunID: owned, Name: "it's", Key: "k"},
				{RunID: owned, Name: "a"},
				{RunID: owned, Name: "a"},
				{RunID: finished, Name: "a"},
				{RunID: finished, Name: "a", Key: "k"},
			} {
				s.Payload = json.RawMessage(`{"it's": "a \"payload\""}`)
				o.Sent = append(o.Sent, send(s))
				o.Stands = append(o.Stands, b.stand(t, s.RunID))
			}
			for _, id := range []string{parked, owned, finished} {
				signals, err := st.ListSignals(t.Context(), id)
				kit.Must(t, err)
				o.Signals = append(o.Signals, signals...)
			}
			got[name] = o
		}
		if want := []bool{true, true, false, true, true, true, false, false}; !cmp.Equal(got["Go"].Sent, want) {
			t.Errorf("sent %t, want %t", got["Go"].Sent, want)
		}
		for name := range by {
			if diff := cmp.Diff(got["Go"], got[name], cmpopts.IgnoreFields(store.Signal{}, "RunID", "SentAt")); diff != "" {
				t.Errorf("%s (-Go +it):\n%s", name, diff)
			}
		}
		if n, err := plain.send(t.Context(), b.db, store.NewSignal{RunID: "nobody", Name: "a", Payload: json.RawMessage("1")}); n != 0 || err != nil {
			t.Errorf("to no run: %d, %v", n, err)
		}
		if skew := kit.One[int64](t, b.side, `
			SELECT max(abs(sent_at - extract(epoch FROM clock_timestamp()) * 1000))::bigint FROM workflows.workflow_signals`); skew > 60000 {
			t.Errorf("sent %d ms from now", skew)
		}
	})
}

// Of two that send the same key by SQL and by Go one sends, whoever comes first.
func TestSignalFromSQLBesideGo(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, plain := writer(t, b), newPlainSender(t)
		bySQL := func(on kit.Execer, id string) <-chan answer {
			return kit.Go(t, func() answer {
				n, err := plain.send(t.Context(), on, store.NewSignal{RunID: id, Name: "a", Key: "k", Payload: json.RawMessage("1")})
				return answer{n == 1, err}
			})
		}
		for name, second := range map[string]func(tx *sql.Tx, id string) <-chan answer{
			"Go first": func(tx *sql.Tx, id string) <-chan answer {
				mustSend(t, st.In(tx), id, "a", "k")
				return bySQL(kit.Begin(t, b.db), id) // READ COMMITTED, whatever the database's default
			},
			"SQL first": func(tx *sql.Tx, id string) <-chan answer {
				kit.Receive(t, "the first", bySQL(tx, id))
				return sending(t, st, id, "a", "k")
			},
		} {
			id := b.newRun(t)
			tx := kit.Begin(t, b.db)
			answered := second(tx, id)
			kit.Waiters(t, b.side, 1)
			kit.Must(t, tx.Commit())
			if got := kit.Receive(t, "the second", answered); got.sent || got.err != nil {
				t.Errorf("%s: the second sent %t, %v", name, got.sent, got.err)
			}
			if got, want := b.stand(t, id), "pending 1 now"; got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	})
}
