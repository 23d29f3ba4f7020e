package main

import (
	"bytes"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sqlworkflow/workflow"
)

// printTable aligns the columns of rows.
func printTable(w io.Writer, rows [][]string) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = io.WriteString(table, strings.Join(row, "\t")+"\n") // a Buffer takes everything
	}
	_ = table.Flush()
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// moment shows a time to the millisecond; heads of columns say that it is UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// lasted shows a duration, a long one to the second.
func lasted(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// failure shows an error in one line, its code first.
func failure(e *workflow.Error) string {
	switch {
	case e == nil:
		return ""
	case e.Message == "" || strings.HasPrefix(e.Message, string(e.Code)): // as the message of a panic
		return printable(e.Error())
	default:
		return printable(string(e.Code) + ": " + e.Message)
	}
}

// printable makes one line of any text, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		default:
			return r
		}
	}, s)
}

const maxCell = 80 // characters

func cut(s string) string {
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	return string([]rune(s)[:maxCell-1]) + "…"
}
