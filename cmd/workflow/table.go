package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// cutting is how a column gets narrower on a terminal.
type cutting int

const (
	never  cutting = iota
	middle         // an id or a name, whose end tells as much as its beginning
	end            // a text
)

type column struct {
	head  string
	cut   cutting
	least int                 // as narrow as it may get; 0: as its head
	drop  int                 // which columns go first where there is no room, from 1 on; 0: it stays
	paint func(string) string // colours a cell; nil: none
}

// A table is printed with its columns aligned. On a terminal it is as wide as that at most: columns are cut, or left out, or the last one,
// which is a note, goes under its row. Elsewhere nothing is cut.
type table struct {
	columns []column
	rows    [][]string
	note    bool // the last column may go under the row
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// without takes out a column.
func (t *table) without(i int) {
	t.columns = slices.Delete(slices.Clone(t.columns), i, i+1)
	for r := range t.rows {
		t.rows[r] = slices.Delete(t.rows[r], i, i+1)
	}
}

// withoutEmpty takes out those of the named columns that have nothing in any row.
func (t *table) withoutEmpty(heads ...string) {
	for i := len(t.columns) - 1; i >= 0; i-- {
		used := slices.ContainsFunc(t.rows, func(row []string) bool { return row[i] != "" })
		if !used && slices.Contains(heads, t.columns[i].head) {
			t.without(i)
		}
	}
}

const (
	gap       = 2  // between columns
	leastNote = 30 // of a note beside its row: what is longer goes under it where there is no room
)

// print prints a table for where c prints.
func (c *cli) print(t table) error {
	if !c.colour {
		for i := range t.columns {
			t.columns[i].paint = nil
		}
	}
	_, err := io.WriteString(c.out, strings.Join(t.lines(c.width()), ""))
	return err
}

// lines are those of the table, each with its end; width 0 is no bound.
func (t *table) lines(width int) (lines []string) {
	shown := table{columns: slices.Clone(t.columns), note: t.note}
	for _, row := range t.rows {
		shown.rows = append(shown.rows, slices.Clone(row))
	}
	notes := shown.fit(width)
	widths := shown.widths()
	shown.shrink(widths, width)
	if heads := shown.heads(); strings.TrimSpace(strings.Join(heads, "")) != "" {
		lines = append(lines, shown.line(heads, widths, width))
	}
	for r, row := range shown.rows {
		lines = append(lines, shown.line(row, widths, width))
		if len(notes) > r && notes[r] != "" {
			lines = append(lines, "    "+runewidth.Truncate(notes[r], width-4, "…")+"\n")
		}
	}
	return lines
}

func (t *table) heads() []string {
	heads := make([]string, len(t.columns))
	for i, column := range t.columns {
		heads[i] = column.head
	}
	return heads
}

// fit takes out what there is no room for, and returns the notes if they go under their rows.
func (t *table) fit(width int) (notes []string) {
	if width == 0 {
		return nil
	}
	last := len(t.columns) - 1
	if t.note && t.needs()-t.least(last)+min(t.columns[last].least, t.widths()[last]) > width {
		for _, row := range t.rows {
			notes = append(notes, row[last])
		}
		t.without(last)
	}
	for rank := 1; t.needs() > width && rank < 10; rank++ {
		for i := len(t.columns) - 1; i >= 0; i-- {
			if t.columns[i].drop == rank && t.needs() > width {
				t.without(i)
			}
		}
	}
	return notes
}

// needs is how wide it is when all that can be cut is.
func (t *table) needs() int {
	sum := gap * max(len(t.columns)-1, 0)
	for i := range t.columns {
		sum += t.least(i)
	}
	return sum
}

// least is how narrow a column may get.
func (t *table) least(i int) int {
	natural := t.widths()[i]
	if t.columns[i].cut == never {
		return natural
	}
	return min(natural, max(t.columns[i].least, runewidth.StringWidth(t.columns[i].head), 4))
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for _, row := range append([][]string{t.heads()}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	return widths
}

// shrink makes the widest column that can be cut narrower, until there is room for all.
func (t *table) shrink(widths []int, width int) {
	if width == 0 {
		return
	}
	least := make([]int, len(widths))
	over := gap*(len(widths)-1) - width
	for i := range widths {
		least[i] = t.least(i)
		over += widths[i]
	}
	for ; over > 0; over-- {
		widest := -1
		for i := range widths {
			if widths[i] > least[i] && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// line is a row, or the heads.
func (t *table) line(cells []string, widths []int, width int) string {
	var b strings.Builder
	used := 0
	for i, cell := range cells {
		if width > 0 {
			if used >= width { // even what cannot be cut
				break
			}
			cell = shorten(shorten(cell, widths[i], t.columns[i].cut), width-used, end)
		}
		taken := runewidth.StringWidth(cell)
		used += widths[i] + gap
		if paint := t.columns[i].paint; paint != nil {
			cell = paint(cell)
		}
		b.WriteString(cell)
		if i < len(cells)-1 {
			fmt.Fprintf(&b, "%*s", max(widths[i]-taken, 0)+gap, "")
		}
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

// shorten cuts a cell to a width.
func shorten(cell string, width int, how cutting) string {
	if runewidth.StringWidth(cell) <= width {
		return cell
	}
	if how != middle || width < 6 {
		return runewidth.Truncate(cell, width, "…")
	}
	tail := (width - 1) / 2
	head := runewidth.Truncate(cell, width-1-tail, "")
	return head + "…" + runewidth.TruncateLeft(cell, runewidth.StringWidth(cell)-tail, "")
}
