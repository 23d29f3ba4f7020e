package main

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type row struct {
	part int
	args []any
	done chan error
}

// A group sends the rows that come while a statement is under way in the next one, as the library does: of many rows a second
// statement takes some beside the first.
type group struct {
	send func(batch []row) error

	mu      sync.Mutex
	waiting []row
	sending int // statements under way
}

// As the library has them.
const (
	flushers   = 2
	secondFrom = 32 // rows that wait
	maxBatch   = 512
	maxQuiet   = 50 * time.Microsecond
	maxGiveWay = 500 * time.Microsecond
	maxYields  = 10_000
)

func (g *group) add(r row) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, r)
	if g.sending == 0 || g.sending < flushers && len(g.waiting) >= secondFrom {
		g.sending++
		go g.flush()
	}
}

// flush sends until nothing waits.
func (g *group) flush() {
	for batch := g.next(); len(batch) > 0; batch = g.next() {
		err := g.send(batch)
		rows := g.count() + len(batch)
		for _, r := range batch {
			r.done <- err
		}
		if rows > 1 {
			g.giveWay(min(rows, maxBatch))
		}
	}
}

// giveWay lets those go on who were told, so that their next rows go together.
func (g *group) giveWay(rows int) {
	seen, began := 0, time.Now()
	last := began
	for range maxYields {
		runtime.Gosched()
		waiting, now := g.count(), time.Now()
		if waiting > seen {
			last = now
		}
		if waiting >= rows || waiting < seen || now.Sub(last) > maxQuiet || now.Sub(began) > maxGiveWay {
			return
		}
		seen = waiting
	}
}

func (g *group) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func (g *group) next() []row {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), maxBatch)
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	if n == 0 {
		g.waiting = nil
		g.sending--
	}
	return batch
}

// sendAll sends rows in one statement.
func (b *bare) sendAll(batch []row) error {
	ctx := context.Background()
	if len(batch) == 1 {
		return b.send(ctx, b.texts.alone[batch[0].part], batch[0].args, 1)
	}
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
