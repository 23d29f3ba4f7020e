package store

import "strings"

// A query is one statement. Its text carries marks that are filled in once, when a [Store] is made:
//
//	{schema}    the quoted schema name
//	{now_ms}    Unix milliseconds at the start of the transaction; stable, so an index condition. For predicates
//	{clock_ms}  Unix milliseconds now: a caller's old transaction must not stamp the past. For values
//	{share}     the guard's row lock where the run only has to stay as it is
//	{update}    the guard's row lock where the statement changes the run
//	{delete}    the guard's row lock where the statement deletes the run
//	{gate}      see [createRun]
type query int

var texts []string

// define registers a statement; call it only to initialise a package variable.
func define(text string) query {
	texts = append(texts, text)
	return query(len(texts) - 1)
}

// hasty returns a text whose guard skips a run that others have locked, instead of waiting for it.
func hasty(text string) string {
	return strings.NewReplacer("{share}", "FOR SHARE SKIP LOCKED", "{update}", "FOR NO KEY UPDATE SKIP LOCKED").Replace(text)
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

func render(schema string) rendered {
	quoted := `"` + strings.ReplaceAll(schema, `"`, `""`) + `"`
	alone := strings.NewReplacer(
		"{schema}", quoted, "{now_ms}", nowMS, "{clock_ms}", clockMS,
		"{share}", "FOR SHARE", "{update}", "FOR NO KEY UPDATE", "{delete}", "FOR UPDATE", "{gate}", "$4::bigint IS NOT NULL")
	inTx := strings.NewReplacer(
		"{schema}", quoted, "{now_ms}", nowMS, "{clock_ms}", clockMS,
		"{share}", "FOR NO KEY UPDATE SKIP LOCKED", "{update}", "FOR NO KEY UPDATE SKIP LOCKED",
		"{delete}", "FOR UPDATE SKIP LOCKED",
		"{gate}", "pg_try_advisory_xact_lock($4::bigint)")

	var r rendered
	for _, text := range texts {
		r.alone = append(r.alone, alone.Replace(text))
		r.inTx = append(r.inTx, inTx.Replace(text))
	}
	return r
}
