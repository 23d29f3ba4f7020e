package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The columns, and the file's first line.
const header = "order,customer,article,quantity"

const (
	maxLine     = 1000 // bytes
	maxQuantity = 10_000
)

// Line is a line of the file as it stands there, and the input of a run: that it is broken, if it is, is for the run to
// find out, so that the database says so.
type Line struct {
	File   string
	Number int
	Text   string
}

// ID is the id of the line's run, such as orders.csv:17.
func (l Line) ID() string { return fmt.Sprintf("%s:%d", l.File, l.Number) }

// readLines reads all lines but the header and empty ones. Each is parsed on its own, later: an open quote in one must
// not swallow the next. (So a field cannot contain a line break.)
func readLines(path string) ([]Line, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(string(content), "\ufeff") // Excel's mark
	file := filepath.Base(path)
	var lines []Line
	number := 0
	for text := range strings.Lines(text) {
		number++
		text = strings.TrimRight(text, "\r\n")
		switch {
		case number == 1 && text != header:
			return nil, fmt.Errorf("%s: the first line must be %s", path, header)
		case number > 1 && text != "":
			lines = append(lines, Line{File: file, Number: number, Text: storable(text)})
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s: no orders in it", path)
	}
	return lines, nil
}

// storable makes a run's input of whatever bytes are in a line: PostgreSQL takes neither invalid UTF-8 nor NUL.
func storable(text string) string {
	if len(text) > maxLine {
		text = text[:maxLine] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// parse makes an order of a line, or says what is wrong with it.
func parse(line Line) (Order, error) {
	if len(line.Text) > maxLine {
		return Order{}, refuse(line, brokenLine, "broken line: longer than %d bytes", maxLine)
	}
	if strings.ContainsRune(line.Text, '\ufffd') {
		return Order{}, refuse(line, brokenLine, "broken line: not valid UTF-8")
	}
	reader := csv.NewReader(strings.NewReader(line.Text))
	reader.FieldsPerRecord = -1 // counted here, to say how many there are
	fields, err := reader.Read()
	var problem *csv.ParseError
	if errors.As(err, &problem) {
		return Order{}, refuse(line, brokenLine, "broken line: %v, at column %d", problem.Err, problem.Column)
	}
	if err != nil {
		return Order{}, refuse(line, brokenLine, "broken line: %v", err)
	}
	if len(fields) != 4 {
		return Order{}, refuse(line, brokenLine, "broken line: the number of fields is %d, not 4", len(fields))
	}
	order := Order{Number: fields[0], Customer: fields[1], Article: fields[2]}
	if order.Number == "" || order.Customer == "" {
		return Order{}, refuse(line, brokenLine, "broken line: the order number or the customer is missing")
	}
	order.Quantity, err = strconv.Atoi(fields[3])
	if err != nil || order.Quantity < 1 || order.Quantity > maxQuantity {
		return Order{}, refuse(line, badQuantity, "quantity %q is not a whole number from 1 to %d", fields[3], maxQuantity)
	}
	return order, nil
}
