package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/sqlworkflow/workflow"
)

// moment shows a time to the millisecond; heads of columns say that it is UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// lasted shows a duration, a long one to the second.
func lasted(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// age shows how long something takes or took in two units at most: 5s, 3m12s, 5h2m, 2d4h, 45d.
func age(d time.Duration) string {
	d = max(d, 0)
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 10*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// ago shows a past time by its age, a future one as such, and none as nothing.
func (c *cli) ago(t time.Time) string {
	switch d := c.clock().Sub(t); {
	case t.IsZero():
		return ""
	case d < -time.Second:
		return "in " + age(-d)
	default:
		return age(d) + " ago"
	}
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

const maxCell = 80 // columns

func cut(s string) string { return runewidth.Truncate(s, maxCell, "…") }

// facts are names with their values, one a line; on a terminal long values go on below themselves.
type facts [][2]string

func (f *facts) add(name, value string) { *f = append(*f, [2]string{name, value}) }

func (c *cli) printFacts(f facts) error {
	names := 0
	for _, fact := range f {
		names = max(names, runewidth.StringWidth(fact[0]))
	}
	var b strings.Builder
	for _, fact := range f {
		for i, line := range wrapped(fact[1], c.width()-names-gap) {
			name := fact[0]
			if i > 0 {
				name = ""
			}
			b.WriteString(strings.TrimRight(runewidth.FillRight(name, names+gap)+line, " ") + "\n")
		}
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

// wrapped breaks a text at its spaces; a width that is no room for anything is no bound.
func wrapped(text string, width int) (lines []string) {
	if width < 20 {
		return []string{text}
	}
	line := ""
	for word := range strings.FieldsSeq(text) {
		for runewidth.StringWidth(word) > width { // no space in it
			if line != "" {
				lines, line = append(lines, line), ""
			}
			head := runewidth.Truncate(word, width, "")
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case runewidth.StringWidth(line)+1+runewidth.StringWidth(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// reflowed breaks the paragraphs of a text anew; lines that are indented, and those before them, stay as they are.
func reflowed(text string, width int) string {
	var paragraphs []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if !strings.Contains(paragraph, "\n  ") {
			paragraph = strings.Join(wrapped(paragraph, width), "\n")
		}
		paragraphs = append(paragraphs, paragraph)
	}
	return strings.Join(paragraphs, "\n\n")
}

// The colours of states, for a terminal that has any.
func paintStatus(s string) string {
	switch s {
	case string(workflow.RunFailed), "bad", "dead":
		return "\x1b[31m" + s + "\x1b[0m"
	case string(workflow.RunSuspended), "warn", "paused":
		return "\x1b[33m" + s + "\x1b[0m"
	case string(workflow.RunCompleted), string(workflow.StepSucceeded), "ok":
		return "\x1b[32m" + s + "\x1b[0m"
	default:
		return s
	}
}
