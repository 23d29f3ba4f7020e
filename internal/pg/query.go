package pg

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A Query is one statement. Its text carries marks, which are filled in for each [DB]:
//
//	{schema}    the quoted schema name
//	{now_ms}    Unix milliseconds at the start of the transaction; stable, so an index condition. For predicates
//	{clock_ms}  Unix milliseconds now: a caller's old transaction must not stamp the past. For values
//	{bound}     a column, after a comma, of a clause that the statement reads: see [idleBound]
//
// and those of Options.Marks.
type Query struct {
	name string
	text func() string
	read bool
	id   int // among all queries
}

// A Mark is a piece of text that depends on how a statement is sent.
type Mark struct {
	Name  string // with its braces
	Alone string // in a statement by itself, or in a transaction of ours
	InTx  string // in a transaction of the caller's
}

var queries int

// Define returns a statement that may write. Its name stands in its text, as a comment after the first keyword: there
// pg_stat_statements and pg_stat_activity show it on every server version. To be called only to initialise a package's
// variables.
func Define(name, text string) *Query {
	return DefineLazily(name, func() string { return text })
}

// DefineRead returns a statement that only reads: a standby answers it.
func DefineRead(name, text string) *Query {
	q := Define(name, text)
	q.read = true
	return q
}

// DefineLazily is [Define] for a text that is made when it is first needed, and takes no memory until then.
func DefineLazily(name string, text func() string) *Query {
	q := &Query{name: name, text: text, id: queries}
	queries++
	return q
}

// Name returns the name that the query was defined with.
func (q *Query) Name() string { return q.name }

const nameMark = "/* workflow "

// NameOf returns the name in the text of a statement, "" for one that was not defined here.
func NameOf(text string) string {
	_, rest, found := strings.Cut(text, nameMark)
	name, _, closed := strings.Cut(rest, " */")
	if !found || !closed {
		return ""
	}
	return name
}

func named(name, text string) string {
	keyword, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	return keyword + " " + nameMark + name + " */ " + strings.TrimLeft(rest, " \t")
}

// A way is how a statement is sent, which its text shows.
type way int

const (
	alone way = iota // by itself
	ownTx            // in a transaction of ours
	inTx             // in a transaction of the caller's
	ways
)

// texts are the texts of all queries for one schema, each made when it is first needed.
type texts struct {
	marks [ways]*strings.Replacer
	made  [ways][]atomic.Pointer[string]
}

// Floor, because a time rounded up would lie in the future for up to half a millisecond, and what is due now would not be
// found.
const (
	nowMS   = `floor(extract(epoch FROM now()) * 1000)::bigint`
	clockMS = `floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
)

func newTexts(opts Options) *texts {
	base := []string{
		"{schema}", `"` + strings.ReplaceAll(opts.Schema, `"`, `""`) + `"`, "{now_ms}", nowMS, "{clock_ms}", clockMS,
	}
	var t texts
	for w := range ways {
		pairs := base
		for _, mark := range opts.Marks {
			filled := mark.Alone
			if w == inTx {
				filled = mark.InTx
			}
			pairs = append(pairs[:len(pairs):len(pairs)], mark.Name, strings.NewReplacer(base...).Replace(filled))
		}
		bound := ""
		if w == ownTx {
			bound = idleBound(opts.Idle)
		}
		t.marks[w] = strings.NewReplacer(append(pairs, "{bound}", bound)...)
		t.made[w] = make([]atomic.Pointer[string], queries)
	}
	return &t
}

func (t *texts) of(q *Query, w way) string {
	made := &t.made[w][q.id]
	if text := made.Load(); text != nil {
		return *text
	}
	text := t.marks[w].Replace(named(q.name, q.text()))
	made.Store(&text)
	return text
}

const idleSetting = "idle_in_transaction_session_timeout"

// idleBound is a column that bounds how long a transaction of ours stays open, with the locks that it holds, when this
// process is frozen or cut off before its COMMIT. It stands inside the statement, so that it costs no round trip. A session
// with a lower bound of its own keeps that.
func idleBound(after time.Duration) string {
	if after <= 0 {
		return ""
	}
	ms := strconv.FormatInt(max(after.Milliseconds(), 1), 10)
	return `, set_config('` + idleSetting + `', CASE
	               WHEN current_setting('` + idleSetting + `')::interval BETWEEN '1ms' AND '` + ms + `ms'
	               THEN current_setting('` + idleSetting + `') ELSE '` + ms + `' END, true) AS bound`
}
