package main

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
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
	db    *sql.DB
	texts statements
	owner string
	rows  chan row // to the flusher; nil: each row is a statement
	ended sync.WaitGroup
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
			b.rows = make(chan row, 1024)
			b.ended.Go(b.flush)
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

func (b *bare) Close() error {
	if b.rows != nil {
		close(b.rows)
		b.ended.Wait()
	}
	return b.db.Close()
}

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
	if b.rows == nil {
		return b.send(ctx, b.texts.alone[part], args, 1)
	}
	r := row{part: part, args: args, done: make(chan error, 1)}
	b.rows <- r
	return <-r.done
}

// send sends a statement of which the server is to count n rows.
func (b *bare) send(ctx context.Context, text string, args []any, n int64) error {
	done, err := b.db.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	if counted, err := done.RowsAffected(); err != nil || counted != n {
		return errors.Join(err, errNotWritten)
	}
	return nil
}

type row struct {
	part int
	args []any
	done chan error
}

// flush sends what came while the last statement was under way.
func (b *bare) flush() {
	ctx := context.Background()
	for first := range b.rows {
		batch := []row{first}
		for len(batch) < 512 && len(b.rows) > 0 {
			batch = append(batch, <-b.rows)
		}
		var err error
		if len(batch) == 1 {
			err = b.send(ctx, b.texts.alone[first.part], first.args, 1)
		} else {
			err = b.sendAll(ctx, batch)
		}
		for _, r := range batch {
			r.done <- err
		}
	}
}

func (b *bare) sendAll(ctx context.Context, batch []row) error {
	set := 0
	var columns [parts][][]any
	for _, r := range batch {
		set |= 1 << r.part
		if columns[r.part] == nil {
			columns[r.part] = make([][]any, len(r.args))
		}
		for i, arg := range r.args {
			columns[r.part][i] = append(columns[r.part][i], arg)
		}
	}
	var args []any
	for _, column := range slices.Concat(columns[:]...) {
		args = append(args, arrayLiteral(column))
	}
	return b.send(ctx, b.texts.grouped[set], args, 0) // it answers with the rows that it did not write
}

var quote = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

func arrayLiteral(values []any) string {
	text := []byte{'{'}
	for i, value := range values {
		if i > 0 {
			text = append(text, ',')
		}
		switch v := value.(type) {
		case string:
			text = append(text, '"')
			text = append(text, quote.Replace(v)...)
			text = append(text, '"')
		case int64:
			text = strconv.AppendInt(text, v, 10)
		default:
			text = append(text, "NULL"...)
		}
	}
	return string(append(text, '}'))
}
