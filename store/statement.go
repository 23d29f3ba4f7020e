package store

import (
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// The statements of [Store.Write]: for one row by its kind, and for rows of several kinds by the set of these, which has a bit
// for each. What a batch lacks costs it nothing, and a set that no batch has, no memory.
var (
	alone   = defineAlone(aloneText)
	told    = defineAlone(toldText)
	grouped = defineGrouped()
)

func defineAlone(text func(kind) string) []*pg.Query {
	queries := make([]*pg.Query, len(kinds))
	for i, k := range kinds {
		queries[i] = pg.DefineLazily(k.name, func() string { return text(k) })
	}
	return queries
}

func defineGrouped() []*pg.Query {
	queries := make([]*pg.Query, 1<<markKind)
	for set := 1; set < len(queries); set++ {
		queries[set] = pg.DefineLazily("write_rows", func() string { return groupedText(set) })
	}
	return queries
}

// clockClause is read by every statement that writes: it gives the row its time, and bounds the transaction.
const clockClause = "clock AS (\n    SELECT {clock_ms} AS ms{bound}\n)"

// aloneText is the statement for one row: the number of rows that it wrote tells whether it did.
func aloneText(k kind) string {
	return "WITH " + clockClause + ", " + k.parameters() + "\n" + k.statement(k.exists)
}

// toldText does the same and returns why the row was not written, if it was not.
func toldText(k kind) string {
	return tailedText(k, k.key, k.tail(0, "NOT EXISTS (SELECT FROM "+k.written+")"))
}

// tailedText is the statement for one row with a tail, which reads what was written.
func tailedText(k kind, returning, tail string) string {
	return "WITH " + clockClause + ", " + k.parameters() + ", " + k.clause(k.exists, returning) + tail
}

// parameters is the clause with the only row.
func (k kind) parameters() string {
	var fields []string
	for field := range strings.SplitSeq(k.fields, ", ") {
		name, kind, _ := strings.Cut(field, " ")
		fields = append(fields, "$"+strconv.Itoa(len(fields)+1)+"::"+kind+" AS "+name)
	}
	return k.given + " AS (\n    SELECT " + strings.Join(fields, ", ") + ", 1 AS n\n)"
}

// groupedText is the statement for the rows of a set of kinds.
func groupedText(set int) string {
	clauses := []string{clockClause}
	var tails []string
	parameter := 0
	for i, k := range kinds {
		if set&(1<<i) == 0 {
			continue
		}
		var names, arrays []string
		for field := range strings.SplitSeq(k.fields, ", ") {
			name, kind, _ := strings.Cut(field, " ")
			parameter++
			names = append(names, name)
			// In a sub-select the planner cannot count the elements. If it could, it would plan anew for each batch.
			arrays = append(arrays, "(SELECT $"+strconv.Itoa(parameter)+"::"+kind+"[])")
		}
		columns := strings.Join(names, ", ")
		clauses = append(clauses, k.given+" AS (\n    SELECT "+columns+", n\n    FROM unnest("+strings.Join(arrays, ", ")+
			")\n         WITH ORDINALITY AS given ("+columns+", n)\n)", k.clause("", k.key))
		// Rows are looked for only if one is missing.
		tails = append(tails, k.tail(i, "(SELECT count(*) FROM "+k.written+") < (SELECT count(*) FROM "+k.given+")\n"+
			"  AND ("+qualified(k.given, k.key)+") NOT IN (SELECT "+k.key+" FROM "+k.written+")"))
	}
	return "WITH " + strings.Join(clauses, ", ") + strings.Join(tails, "\nUNION ALL")
}

// clause is the clause that writes.
func (k kind) clause(exists, returning string) string {
	return k.written + " AS (\n" + k.statement(exists) + "\nRETURNING " + qualified(k.target(), returning) + "\n)"
}

func (k kind) statement(exists string) string {
	text := strings.TrimSpace(k.write)
	if exists != "" {
		text += "\n" + strings.TrimSpace(exists)
	}
	return text
}

// target is what write calls the table that it writes.
func (k kind) target() string {
	if k.runID == "id" {
		return "run"
	}
	return "step"
}

func (k kind) tail(i int, where string) string {
	return "\nSELECT " + strconv.Itoa(i) + " AS kind, " + k.given + ".n, " + strings.TrimSpace(k.missed) + " AS outcome\nFROM " + k.given +
		"\nLEFT JOIN LATERAL (\n    SELECT id, epoch, status, wake_seq\n    FROM {schema}.workflow_runs\n    WHERE id = " +
		k.given + "." + k.runID + "\n    OFFSET 0\n) AS run ON true\nWHERE " + where
}

func qualified(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}
