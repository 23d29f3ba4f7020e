package web

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sqlworkflow/workflow"
)

// functions are what templates call.
var functions = template.FuncMap{
	"runURL": runURL,
}

func runURL(id string) string { return "run?" + url.Values{"id": {id}}.Encode() }

// A moment is a time as people read it, and exactly.
type moment struct {
	Text  string // "3m ago", "in 12s"; "" for no time
	Exact string // in UTC
}

func momentOf(at, now time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	m := moment{Exact: exact(at)}
	switch d := now.Sub(at); {
	case d >= time.Second:
		m.Text = span(d) + " ago"
	case d <= -time.Second:
		m.Text = "in " + span(-d)
	default:
		m.Text = "now"
	}
	return m
}

func exact(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// span is a duration in at most two units: 320 ms, 4.2 s, 3m 20s, 5h 12m, 3d 4h.
func span(d time.Duration) string {
	two := func(n time.Duration, unit string, rest time.Duration, of string) string {
		if rest == 0 {
			return fmt.Sprintf("%d%s", n, unit)
		}
		return fmt.Sprintf("%d%s %d%s", n, unit, rest, of)
	}
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(d.Milliseconds()/100)/10, 'f', -1, 64) + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(d/time.Minute, "m", d%time.Minute/time.Second, "s")
	case d < day:
		return two(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	default:
		return two(d/day, "d", d%day/time.Hour, "h")
	}
}

// most is as far as anything is counted.
const most = 10_000

// count writes a number with commas; what reaches most is said to be that or more.
func count[N int | int64](n N) string {
	if int64(n) >= most {
		return "10,000+"
	}
	text := strconv.FormatInt(int64(n), 10)
	if len(text) > 3 {
		text = text[:len(text)-3] + "," + text[len(text)-3:]
	}
	return text
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}

// sentence begins with a capital.
func sentence(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[n:]
}

// cut is the beginning of a text, for a cell of a table.
func cut(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// A badge is a status as it is shown: its colour says which of a few kinds it is, its words which exactly.
type badge struct {
	Kind  string // of badgeKinds
	Label string
	Note  string // what it is suspended for
}

func badgeOf(status workflow.RunStatus, reason workflow.SuspendReason) badge {
	switch {
	case reason == workflow.SuspendedBlocked:
		return badge{Kind: "blocked", Label: "blocked"}
	case status == workflow.RunSuspended:
		return badge{Kind: "waiting", Label: "suspended", Note: reasons[reason]}
	case status == workflow.RunPending:
		return badge{Kind: "pending", Label: "pending"}
	default:
		return badge{Kind: string(status), Label: string(status)}
	}
}

var reasons = map[workflow.SuspendReason]string{
	workflow.SuspendedForTime: "for time", workflow.SuspendedForSignal: "for a signal", workflow.SuspendedForChildren: "for children",
	workflow.SuspendedByHand: "by hand", workflow.SuspendedBlocked: "blocked",
}
