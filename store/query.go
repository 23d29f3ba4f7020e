package store

import (
	"strconv"
	"strings"
	"time"
)

// A query is one statement. Its text carries marks that are filled in once, when a [Store] is made:
//
//	{schema}    the quoted schema name
//	{now_ms}    Unix milliseconds at the start of the transaction; stable, so an index condition. For predicates
//	{clock_ms}  Unix milliseconds now: a caller's old transaction must not stamp the past. For values
//	{share}     the guard's row lock where the run only has to stay as it is
//	{update}    the guard's row lock where the statement changes the run
//	{delete}    the guard's row lock where the statement deletes the run
//	{gate}      whether nobody else creates or deletes the run at this moment
//	{alive}     that a worker has a lease, and {dead} that its lease has ended
//	{bound}     see [bound]
type query int

var defined []string

// define registers a statement under a name; call it only to initialise a package variable.
func define(name, text string) query {
	defined = append(defined, named(name, text))
	return query(len(defined) - 1)
}

// named puts a name into a text, as a comment behind the first keyword: there pg_stat_statements and pg_stat_activity
// show it on every server version.
func named(name, text string) string {
	keyword, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	return keyword + " /* workflow " + name + " */ " + rest
}

// Floor, because a time rounded up would lie in the future for up to half a millisecond, and a run that is runnable now
// would not be found.
const (
	nowMS   = `floor(extract(epoch FROM now()) * 1000)::bigint`
	clockMS = `floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
)

// rendered holds the text of every query, twice: to be sent alone, and to be sent inside a caller's transaction.
type rendered struct {
	alone, inTx []string
}

func render(opts Options) (rendered, func(string) string) {
	marks := func(more ...string) *strings.Replacer {
		quoted := `"` + strings.ReplaceAll(opts.Schema, `"`, `""`) + `"`
		alive := func(condition string) string { return strings.ReplaceAll(condition, "{now_ms}", nowMS) }
		return strings.NewReplacer(append(more, "{schema}", quoted, "{now_ms}", nowMS, "{clock_ms}", clockMS,
			"{alive}", alive(aliveWorker), "{dead}", alive(deadWorker))...)
	}
	own := ""
	if opts.Statements == InTx {
		own = bound(opts.Lease)
	}
	alone := marks("{share}", "FOR SHARE", "{update}", "FOR NO KEY UPDATE", "{delete}", "FOR UPDATE",
		"{gate}", "start.gate IS NULL OR pg_try_advisory_xact_lock_shared(start.gate)", "{bound}", own)
	inTx := marks("{share}", "FOR NO KEY UPDATE SKIP LOCKED", "{update}", "FOR NO KEY UPDATE SKIP LOCKED",
		"{delete}", "FOR UPDATE SKIP LOCKED", "{gate}", "pg_try_advisory_xact_lock(start.gate)", "{bound}", "")

	var r rendered
	for _, text := range defined {
		r.alone = append(r.alone, alone.Replace(text))
		r.inTx = append(r.inTx, inTx.Replace(text))
	}
	return r, alone.Replace
}

const idle = "idle_in_transaction_session_timeout"

// bound is a column that bounds how long a transaction of ours stays open, with the locks that it has, when this process is
// frozen before its COMMIT: for the lease, unless the session has a lower bound already.
func bound(lease time.Duration) string {
	if lease <= 0 {
		return ""
	}
	ms := strconv.FormatInt(lease.Milliseconds(), 10)
	return ",\n           set_config('" + idle + "', CASE\n" +
		"               WHEN current_setting('" + idle + "')::interval BETWEEN '1ms' AND '" + ms + "ms' THEN current_setting('" + idle + "')\n" +
		"               ELSE '" + ms + "' END, true) AS bound"
}
