package migrations

import (
	"fmt"
	"slices"
	"strings"
)

// maxIdentifier is where PostgreSQL cuts a name off, silently.
const maxIdentifier = 63

// ValidateSchema reports why name cannot be the schema of the workflow tables, and what can be.
//
// A name is 1 to 63 lower-case letters, digits and underscores, not beginning with a digit. Names that
// need quotes are refused because goose writes the name of its version table without them; that
// excludes reserved key words such as user. Names beginning with pg_ and information_schema belong to
// PostgreSQL.
func ValidateSchema(name string) error {
	switch {
	case name == "":
		return schemaError(name, "is empty")
	case len(name) > maxIdentifier:
		return schemaError(name, fmt.Sprintf("is %d bytes long, PostgreSQL keeps %d", len(name), maxIdentifier))
	case strings.ContainsFunc(name, outsideSchema):
		return schemaError(name, "has characters other than lower-case letters, digits and underscores")
	case name[0] >= '0' && name[0] <= '9':
		return schemaError(name, "begins with a digit")
	case strings.HasPrefix(name, "pg_"), name == "information_schema":
		return schemaError(name, "belongs to PostgreSQL")
	}
	if _, found := slices.BinarySearch(reservedWords, name); found {
		return schemaError(name, "is a reserved word of SQL")
	}
	return nil
}

func outsideSchema(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
}

func schemaError(name, problem string) error {
	const shown = 80 // of a name that may be anything
	if len(name) > shown {
		name = name[:shown] + "…"
	}
	return fmt.Errorf("migrations: schema name %q %s: choose a name like %q", name, problem, DefaultSchema)
}
