package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// documented returns the nth statement of a section of docs/operations.md.
func documented(t *testing.T, title string, n int) (statement string) {
	t.Helper()
	document, err := os.ReadFile("../docs/operations.md")
	kit.Must(t, err)
	_, section, _ := strings.Cut(string(document), "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "```sql\n")
	if len(blocks) <= n {
		t.Fatalf("docs/operations.md, %q: %d statements, want %d", title, len(blocks)-1, n)
	}
	statement, _, _ = strings.Cut(blocks[n], "```")
	return statement
}

const signalSection = "Sending a signal from SQL"

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// A plainSender sends signals by the statement of docs/operations.md, as whoever copies it does.
type plainSender struct{ text string }

func newPlainSender(t *testing.T) plainSender {
	t.Helper()
	return plainSender{documented(t, signalSection, 1)}
}

// send returns how many rows the statement updated.
func (p plainSender) send(ctx context.Context, on kit.Execer, s store.NewSignal) (int64, error) {
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

// Of two that send the same key by SQL and by Go one sends, whoever comes first; two keys come one after the other.
func TestSignalFromSQLBesideGo(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, plain := writer(t, b), newPlainSender(t)
		bySQL := func(on kit.Execer, id, key string) <-chan answer {
			return kit.Go(t, func() answer {
				n, err := plain.send(t.Context(), on, store.NewSignal{RunID: id, Name: "a", Key: key, Payload: json.RawMessage("1")})
				return answer{n == 1, err}
			})
		}
		later := func(id string) <-chan answer { // in a transaction that is READ COMMITTED, whatever the database's default
			return kit.Go(t, func() answer {
				tx, err := b.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				if err != nil {
					return answer{err: err}
				}
				defer func() { _ = tx.Rollback() }()
				n, err := plain.send(t.Context(), tx, store.NewSignal{RunID: id, Name: "a", Key: "k", Payload: json.RawMessage("1")})
				return answer{n == 1, errors.Join(err, tx.Commit())}
			})
		}
		for name, second := range map[string]func(tx *sql.Tx, id string) <-chan answer{
			"Go first": func(tx *sql.Tx, id string) <-chan answer {
				mustSend(t, st.In(tx), id, "a", "k")
				return later(id)
			},
			"Go first, with another key": func(tx *sql.Tx, id string) <-chan answer {
				mustSend(t, st.In(tx), id, "a", "other")
				return later(id)
			},
			"SQL first": func(tx *sql.Tx, id string) <-chan answer {
				kit.Receive(t, "the first", bySQL(tx, id, "k"))
				return sending(t, st, id, "a", "k")
			},
		} {
			id := b.newRun(t)
			tx := kit.Begin(t, b.db)
			answered := second(tx, id)
			kit.Waiters(t, b.side, 1)
			kit.Must(t, tx.Commit())
			want, stands := answer{}, "pending 1 now"
			if strings.Contains(name, "another key") {
				want, stands = answer{sent: true}, "pending 2 now"
			}
			if got := kit.Receive(t, "the second", answered); got != want {
				t.Errorf("%s: the second sent %t, %v", name, got.sent, got.err)
			}
			if got := b.stand(t, id); got != stands {
				t.Errorf("%s: got %s, want %s", name, got, stands)
			}
		}
	})
}
