package main

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/migrations"
	"github.com/sqlworkflow/workflow/store"
)

// A bare loop sends the statements of the library, to its schema, and does nothing else: no engine, no contexts, no state.
// It is the limit of what an engine on these statements can do.
type bare struct {
	db       *sql.DB
	texts    statements
	prepared func(ctx context.Context, text string) (*sql.Stmt, error) // nil: the driver does so by itself
	owner    string
	group    *group // of rows; nil: each row is a statement
}

// The parts of a statement, in its order.
const (
	start = iota
	checkpoint
	finish
	parts
)

// statements are the library's own: taken from what its store sends.
type statements struct {
	alone   [parts]string
	grouped [1 << parts]string // by the set of parts, a bit for each
}

func openSingle(driver, parameters string) func(context.Context, string, int) (system, error) {
	return func(ctx context.Context, url string, _ int) (system, error) {
		b, err := openBare(ctx, driver, url, parameters)
		return b, err
	}
}

func openGrouped(driver, parameters string) func(context.Context, string, int) (system, error) {
	return func(ctx context.Context, url string, _ int) (system, error) {
		b, err := openBare(ctx, driver, url, parameters)
		if err == nil {
			b.group = &group{send: b.sendAll}
		}
		return b, err
	}
}

// openUnguarded opens a grouped loop whose statements write whether the run is still the owner's or not.
func openUnguarded(driver string) func(context.Context, string, int) (system, error) {
	return func(ctx context.Context, url string, _ int) (system, error) {
		b, err := openBare(ctx, driver, url, "")
		if err == nil {
			b.group = &group{send: b.sendAll}
			b.texts = b.texts.unguarded()
		}
		return b, err
	}
}

func openBare(ctx context.Context, driver, url, parameters string) (*bare, error) {
	db, err := openPool(driver, withParameters(url, parameters))
	if err != nil {
		return nil, err
	}
	b := &bare{db: db, owner: uuid.NewString()}
	if driver != "pgx" {
		b.prepared = preparing(db)
	}
	if err = migrations.Up(ctx, db, migrations.DefaultSchema); err == nil {
		b.texts, err = recordStatements(ctx, url, b.owner)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

// recordStatements has a store write rows of each kind, registers the owner, and returns what it sent.
func recordStatements(ctx context.Context, url, owner string) (texts statements, err error) {
	db, counter, err := counting.Open("pgx", url)
	if err != nil {
		return texts, err
	}
	defer db.Close()
	st := store.New(db, store.Options{
		Schema: migrations.DefaultSchema, Statements: store.Single, Timeout: time.Minute, LockTimeout: time.Minute,
	})
	if err := st.RegisterWorker(ctx, store.Worker{ID: owner, Workflows: []string{"ten steps"}}, 24*time.Hour); err != nil {
		return texts, err
	}
	samples := [parts]func() store.Write{
		start: func() store.Write {
			return store.NewRun{ID: uuid.NewString(), Workflow: "sample", Input: []byte("1"), Owner: owner}
		},
		checkpoint: func() store.Write { return &store.Checkpoint{Owned: store.Owned{RunID: "none"}, Name: "step"} },
		finish:     func() store.Write { return &store.End{Owned: store.Owned{RunID: "none"}, Status: store.RunCompleted} },
	}
	record := func(writes []store.Write) (string, error) {
		counter.Take()
		_, err := st.Write(ctx, writes)
		_, sent := counter.TakeTexts()
		if err != nil {
			return "", err
		}
		return sent[0], nil // after it comes why the rows were not written
	}
	for part, sample := range samples {
		if texts.alone[part], err = record([]store.Write{sample()}); err != nil {
			return texts, err
		}
	}
	for set := 1; set < len(texts.grouped); set++ {
		var writes []store.Write
		for part, sample := range samples {
			if set&(1<<part) != 0 {
				writes = append(writes, sample(), sample())
			}
		}
		if texts.grouped[set], err = record(writes); err != nil {
			return texts, err
		}
	}
	_, err = db.ExecContext(ctx, "DELETE FROM workflows.workflow_runs")
	return texts, err
}

var guard = regexp.MustCompile(`(?s)CROSS JOIN LATERAL \(.*? SKIP LOCKED\s*\) AS run`)

// unguarded returns the statements without the guard.
func (s statements) unguarded() statements {
	for i, text := range s.alone {
		s.alone[i] = guard.ReplaceAllString(text, "")
	}
	for i, text := range s.grouped {
		s.grouped[i] = guard.ReplaceAllString(text, "")
	}
	return s
}

func (b *bare) Close() error { return b.db.Close() }

func (b *bare) Run(ctx context.Context) error {
	id, err := b.begin(ctx)
	if err != nil {
		return err
	}
	for i := range stepsPerRun {
		if err := b.step(ctx, id, i); err != nil {
			return err
		}
	}
	return b.write(ctx, finish, id, int64(1), "completed", "10", nil, nil)
}

func (b *bare) Steps(ctx context.Context, n int, took func(time.Duration)) error {
	id, err := b.begin(ctx)
	if err != nil {
		return err
	}
	for i := range n {
		began := time.Now()
		if err := b.step(ctx, id, i); err != nil {
			return err
		}
		took(time.Since(began))
	}
	return b.write(ctx, finish, id, int64(1), "completed", "10", nil, nil)
}

func (b *bare) begin(ctx context.Context) (id string, err error) {
	fresh, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	id = fresh.String()
	return id, b.write(ctx, start, id, "ten steps", nil, "1", b.owner, int64(0), nil, nil)
}

func (b *bare) step(ctx context.Context, id string, i int) error {
	stepsBegun.Add(1)
	return b.write(ctx, checkpoint, id, int64(1), "step#"+strconv.Itoa(i+1), nil, int64(i+1), int64(0), `"`+stepResult+`"`, nil)
}

var errNotWritten = errors.New("bare loop: a row was not written")

func (b *bare) write(ctx context.Context, part int, args ...any) error {
	if b.group == nil {
		return b.send(ctx, b.texts.alone[part], args, 1)
	}
	r := row{part: part, args: args, done: make(chan error, 1)}
	b.group.add(r)
	return <-r.done
}

func (b *bare) exec(ctx context.Context, text string, args []any) (sql.Result, error) {
	if b.prepared == nil {
		return b.db.ExecContext(ctx, text, args...)
	}
	stmt, err := b.prepared(ctx, text) //nolint:sqlclosecheck // it lives as long as its pool
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// preparing prepares each text once, which database/sql does again on each connection: pgx does so by itself, lib/pq does not, and
// the library does it for that.
func preparing(db *sql.DB) func(ctx context.Context, text string) (*sql.Stmt, error) {
	var mu sync.Mutex
	made := make(map[string]*sql.Stmt)
	return func(ctx context.Context, text string) (*sql.Stmt, error) {
		mu.Lock()
		defer mu.Unlock()
		if stmt, ok := made[text]; ok {
			return stmt, nil
		}
		stmt, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // the same
		if err == nil {
			made[text] = stmt
		}
		return stmt, err
	}
}

// send sends a statement of which the server is to count n rows.
func (b *bare) send(ctx context.Context, text string, args []any, n int64) error {
	done, err := b.exec(ctx, text, args)
	if err != nil {
		return err
	}
	if counted, err := done.RowsAffected(); err != nil || counted != n {
		return errors.Join(err, errNotWritten)
	}
	return nil
}
