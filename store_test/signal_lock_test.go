package store_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// An answer is what SendSignal returned.
type answer struct {
	sent bool
	err  error
}

// sending sends a signal in a goroutine.
func sending(t *testing.T, st *store.Store, id, name, key string) <-chan answer {
	t.Helper()
	return kit.Go(t, func() answer {
		sent, err := send(t, st, id, name, key)
		return answer{sent, err}
	})
}

// Of two senders of the same key one sends, whoever commits: the other one waits to learn it, and its transaction goes on.
func TestSendersOfTheSameKey(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, commits := range []bool{true, false} {
			for _, in := range []bool{true, false} {
				t.Run(fmt.Sprintf("the first commits %t, the second in a transaction %t", commits, in), func(t *testing.T) {
					id := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a"}})
					first := kit.Begin(t, b.db)
					mustSend(t, st.In(first), id, "a", "k")
					on, commit := st, func() error { return nil }
					if in {
						second := kit.Begin(t, b.db)
						on, commit = st.In(second), second.Commit
					}
					answered := sending(t, on, id, "a", "k")
					kit.Waiters(t, b.side, 1)
					if commits {
						kit.Must(t, first.Commit())
					} else {
						kit.Must(t, first.Rollback())
					}
					if got := kit.Receive(t, "the second sender", answered); got.err != nil || got.sent == commits {
						t.Errorf("the second sent %t, %v", got.sent, got.err)
					}
					mustSend(t, on, id, "b", "")
					kit.Must(t, commit())
					if got, want := b.stand(t, id), "suspended signal 2 now {signal:a}"; got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
					if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_signals WHERE run_id = $1`, id); n != 2 {
						t.Errorf("%d signals, want 2", n)
					}
				})
			}
		}
	})
}

// A sender in a transaction waits for a run that others hold within a bound, and goes on with its transaction after it.
func TestSendToARunThatOthersHold(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short})
		id, other := b.newRun(t), b.newRun(t)
		b.holdRow(t, id)
		tx := kit.Begin(t, b.db)
		_, err := send(t, st.In(tx), id, "a", "")
		kit.WantIs(t, err, store.ErrLockTimeout)
		mustSend(t, st.In(tx), other, "a", "")
		kit.Must(t, tx.Commit())
		if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_signals`); n != 1 {
			t.Errorf("%d signals, want that to the other run", n)
		}
	})
}

// decisions are what decides, of a run under epoch 1, that nothing has come.
func decisions(id string) map[string]store.Write {
	seen, owned := int64(0), store.Owned{RunID: id, Epoch: 1}
	return map[string]store.Write{
		"park": &store.Park{Owned: owned, For: store.ForSignal, WaitsFor: []string{"signal:a"}},
		"time-out": &store.Take{
			Owned: owned, Name: "wait", Kind: store.SignalStep, Err: &store.Error{Code: "timeout"}, WakeSeq: &seen,
		},
		"poll": &store.Take{Owned: owned, Name: "wait", Kind: store.SignalStep, Result: json.RawMessage("null"), WakeSeq: &seen},
	}
}

// What decides that nothing has come is not written while a signal is being sent, nor after it, alone or with others.
func TestDecisionsAfterASignal(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for name := range decisions("") {
			t.Run(name, func(t *testing.T) {
				id, bystander := b.ownedRun(t), b.ownedRun(t)
				decision := decisions(id)[name]
				step := func(name string) store.Write {
					return &store.Checkpoint{Owned: store.Owned{RunID: bystander, Epoch: 1}, Name: name, Result: json.RawMessage("1")}
				}
				together := func(when string, want store.Outcome) {
					t.Helper()
					wrote(t, st, want, decision)
					outcomes, err := st.Write(t.Context(), []store.Write{step(when), decision})
					kit.Must(t, err)
					if outcomes[0] != store.Written || outcomes[1] != want {
						t.Errorf("%s: %v, want written and %v", when, outcomes, want)
					}
				}
				tx := kit.Begin(t, b.db)
				mustSend(t, st.In(tx), id, "a", "")
				together("while it is sent", store.Locked)
				kit.Must(t, tx.Commit())
				together("after it", store.Woken)
				if got, want := b.stand(t, id), "running 1 never"; got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	})
}

// A signal that is sent while a decision is being written comes after it: it wakes a park, and a time-out stays.
func TestSignalAfterADecision(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for name, want := range map[string]string{
			"park":     "suspended signal 1 now {signal:a}",
			"time-out": "running 1 never",
			"poll":     "running 1 never",
		} {
			for _, in := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, the sender in a transaction %t", name, in), func(t *testing.T) {
					id := b.ownedRun(t)
					writing := kit.Begin(t, b.db)
					wrote(t, st.In(writing), store.Written, decisions(id)[name])
					on, commit := st, func() error { return nil }
					if in {
						tx := kit.Begin(t, b.db)
						on, commit = st.In(tx), tx.Commit
					}
					answered := sending(t, on, id, "a", "")
					kit.Waiters(t, b.side, 1)
					kit.Must(t, writing.Commit())
					if got := kit.Receive(t, "the sender", answered); got.err != nil || !got.sent {
						t.Errorf("sent %t, %v", got.sent, got.err)
					}
					kit.Must(t, commit())
					if got := b.stand(t, id); got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				})
			}
		}
	})
}

// An open transaction that has sent a signal stops nobody but its receiver: what the engine writes for a hundred other runs, one
// by one and in one statement with the receiver, is written at once.
func TestOpenSenderStopsItsReceiverAlone(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		receiver := b.ownedRun(t)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, owner, epoch)
			SELECT 'busy' || n, 'w', 'running', '1', 1, 1, 'me', 1
			FROM generate_series(1, 100) AS n`)
		tx := kit.Begin(t, b.db)
		mustSend(t, st.In(tx), receiver, "a", "")
		step := func(id, name string) store.Write {
			return &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: name, Result: json.RawMessage("1")}
		}
		rows := []store.Write{step(receiver, "together")}
		for n := 1; n <= 100; n++ {
			id := fmt.Sprint("busy", n)
			wrote(t, st, store.Written, step(id, "alone"))
			rows = append(rows, step(id, "together"))
		}
		wrote(t, st, store.Locked, rows[0])
		outcomes, err := st.Write(t.Context(), rows)
		kit.Must(t, err)
		for i, outcome := range outcomes {
			if (outcome == store.Locked) != (i == 0) || i > 0 && outcome != store.Written {
				t.Errorf("row %d: %v", i, outcome)
			}
		}
		mustSend(t, st, "busy1", "a", "") // nor other senders
		kit.Must(t, tx.Commit())
		wrote(t, st, store.Written, rows[0])
	})
}

// Under a snapshot a signal to a run that has changed since is a serialization failure, and nothing of it stays.
func TestSignalUnderASnapshot(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, isolation := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
			t.Run(isolation.String(), func(t *testing.T) {
				id := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a"}})
				tx := kit.Begin(t, b.db, isolation)
				kit.Exec(t, tx, `SELECT count(*) FROM workflows.workflow_signals`) // the snapshot
				mustSend(t, st.In(tx), id, "a", "k")
				mustSend(t, st.In(tx), id, "a", "k2")
				if sent, err := send(t, st.In(tx), id, "a", "k"); sent || err != nil {
					t.Errorf("again: sent %t, %v", sent, err)
				}
				kit.Must(t, tx.Commit())

				for _, key := range []string{"k3", ""} {
					late := kit.Begin(t, b.db, isolation)
					kit.Exec(t, late, `SELECT count(*) FROM workflows.workflow_signals`)
					mustSend(t, st, id, "a", key)
					if _, err := send(t, st.In(late), id, "a", key); kit.SQLState(err) != "40001" {
						t.Errorf("key %q: %v, want SQLSTATE 40001", key, err)
					}
					kit.Must(t, late.Rollback())
				}
				if got, want := b.stand(t, id), "suspended signal 4 now {signal:a}"; got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	})
}

// Many senders of the same few keys at once, most of them in transactions, half of which roll back: each key is sent once at
// most, by one who was told so, and no transaction is spoiled.
func TestManySendersOfTheSameKeys(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.newRun(t)
		sends := make(chan string, 1000)
		for i, err := range kit.Together(8, func(i int) error {
			for n := range 40 {
				key := fmt.Sprint("k", n/2)
				if err := b.sendsOnce(t, st, id, key, n+i, sends); err != nil {
					return err
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("sender %d: %v", i, err)
			}
		}
		close(sends)
		said := map[string]bool{}
		for key := range sends {
			if said[key] {
				t.Errorf("two were told that they have sent %s", key)
			}
			said[key] = true
		}
		n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_signals`)
		if raised := kit.One[int](t, b.side, `SELECT wake_seq FROM workflows.workflow_runs`); n != len(said) || raised != n || n == 0 {
			t.Errorf("%d signals, %d said to be sent, the count raised by %d", n, len(said), raised)
		}
	})
}

// sendsOnce sends a key alone, or in a transaction that commits or rolls back.
func (b *bundle) sendsOnce(t *testing.T, st *store.Store, id, key string, way int, sends chan<- string) error {
	signal := store.NewSignal{RunID: id, Name: "a", Key: key, Payload: json.RawMessage("1")}
	if way%4 == 0 {
		sent, err := st.SendSignal(t.Context(), signal)
		if sent {
			sends <- key
		}
		return err
	}
	tx, err := b.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // whatever the database's default
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	sent, err := st.In(tx).SendSignal(t.Context(), signal)
	if err != nil || way%2 == 0 {
		return err
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT 1`); err != nil {
		return errors.Join(errors.New("the transaction is spoiled"), err)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if sent {
		sends <- key
	}
	return nil
}

// Where the application has chosen a stricter isolation for its whole database, senders at the same time are refused by the
// server, and sent again: each signal is there once, and each key too.
func TestSendersUnderAnotherDefaultIsolation(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, level := range []string{"serializable", "repeatable read"} {
			for mode, statements := range map[string]store.Statements{"Single": store.Single, "InTx": store.InTx} {
				if mode == "Single" && access.Pooled && access.Params["binary_parameters"] != "yes" {
					continue // not safe there
				}
				t.Run(level+", "+mode, func(t *testing.T) {
					database := pgtest.New(t)
					setDefault(t, database, "default_transaction_isolation", level)
					b := on(t, database, access)
					st := store.New(b.db, store.Options{
						Schema: "workflows", Statements: statements, Timeout: kit.Patience, LockTimeout: kit.Patience,
					})
					id := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a"}})
					for i, err := range kit.Together(3, func(i int) error {
						for n := range 10 {
							for _, signal := range []store.NewSignal{{Name: "a", Key: fmt.Sprint(n)}, {Name: "a"}} {
								signal.RunID, signal.Payload = id, json.RawMessage("1")
								if _, err := st.SendSignal(t.Context(), signal); err != nil {
									return err
								}
							}
						}
						return nil
					}) {
						if err != nil {
							t.Errorf("sender %d: %v", i, err)
						}
					}
					if got, want := b.stand(t, id), "suspended signal 40 now {signal:a}"; got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				})
			}
		}
	})
}
