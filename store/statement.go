package store

import (
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// The statements of [Store.Write]: for one row by its kind, and for rows of several kinds by the set of these, which has a bit
// for each. What a batch lacks costs it nothing, and a set that no batch has, no memory.
var (
	alone   = defineAlone()
	grouped = defineGrouped()
)

func defineAlone() []*pg.Query {
	queries := make([]*pg.Query, len(kinds))
	for i, k := range kinds {
		queries[i] = pg.DefineLazily(k.name, func() string { return aloneText(k) })
	}
	return queries
}

func defineGrouped() map[int]*pg.Query {
	queries := map[int]*pg.Query{
		1 << signalKind: pg.DefineLazily("send_signals", func() string { return groupedText(1 << signalKind) }),
	}
	for set := 1; set < 1<<markKind; set++ {
		queries[set] = pg.DefineLazily("write_rows", func() string { return groupedText(set) })
	}
	return queries
}

// clockClause is read by every statement that writes: it gives the row its time, and bounds the transaction.
const clockClause = "clock AS (\n    SELECT {clock_ms} AS ms{bound}\n)"

// aloneText is the statement for one row: the number of rows that it wrote tells whether it did.
func aloneText(k kind) string {
	given, write := aloneClauses(k)
	if k.after == "" {
		return given + "\n" + write
	}
	return given + ", " + k.clause(write) + more(k.after) + "\nSELECT FROM " + k.written
}

// aloneClauses are the clauses that one row is read from, and what writes it.
func aloneClauses(k kind) (given, write string) {
	var fields []string
	for field := range strings.SplitSeq(k.fields, ", ") {
		name, kind, _ := strings.Cut(field, " ")
		fields = append(fields, "$"+strconv.Itoa(len(fields)+1)+"::"+kind+" AS "+name)
	}
	given = "WITH " + clockClause + ", " + k.given + " AS (\n    SELECT " + strings.Join(fields, ", ") + ", 1 AS n\n)" + more(k.before)
	return given, strings.TrimSpace(strings.TrimSpace(k.write) + "\n" + strings.TrimSpace(k.alone))
}

// more are further clauses.
func more(clauses string) string {
	if clauses == "" {
		return ""
	}
	return ", " + strings.TrimSpace(clauses)
}

// groupedText is the statement for the rows of a set of kinds. It returns those that were not written.
func groupedText(set int) string {
	clauses := []string{clockClause}
	var tails []string
	parameter := 0
	for i, k := range kinds {
		if set&(1<<i) == 0 {
			continue
		}
		var names, arrays []string
		first := "$" + strconv.Itoa(parameter+1) + "::text[]"
		for field := range strings.SplitSeq(k.fields, ", ") {
			name, kind, _ := strings.Cut(field, " ")
			parameter++
			names = append(names, name)
			// In a sub-select the planner cannot count the elements. If it could, it would plan anew for each batch.
			arrays = append(arrays, "(SELECT $"+strconv.Itoa(parameter)+"::"+kind+"[])")
		}
		columns := strings.Join(names, ", ")
		clauses = append(clauses, k.given+" AS (\n    SELECT "+columns+", n\n    FROM unnest("+strings.Join(arrays, ", ")+
			")\n         WITH ORDINALITY AS given ("+columns+", n)\n)"+more(k.before), k.clause(k.write)+more(k.after))
		if !k.certain {
			tails = append(tails, k.tail(i, first))
		}
	}
	if tails == nil {
		tails = []string{"\nSELECT 0 AS kind, 0 AS n WHERE false"}
	}
	return "WITH " + strings.Join(clauses, ", ") + strings.Join(tails, "\nUNION ALL")
}

// clause is the clause that writes.
func (k kind) clause(write string) string {
	text := k.written + " AS (\n" + strings.TrimSpace(write)
	if !k.certain {
		text += "\nRETURNING " + k.key
	}
	return text + "\n)"
}

// tail returns the rows that were not written. Rows are looked for only if there are fewer than in an array of those given.
func (k kind) tail(i int, array string) string {
	rows := k.given
	if k.keyed != "" {
		rows = k.keyed
	}
	return "\nSELECT " + strconv.Itoa(i) + " AS kind, n\nFROM " + rows +
		"\nWHERE (SELECT count(*) FROM " + k.written + ") < cardinality(" + array + ")\n" +
		"  AND (" + k.key + ") NOT IN (SELECT " + k.key + " FROM " + k.written + ")"
}
