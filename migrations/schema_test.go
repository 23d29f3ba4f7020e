package migrations_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

func TestValidateSchema(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // name → part of the error, "" for none
		"workflows":               "",
		"w":                       "",
		"_":                       "",
		"_2":                      "",
		"my_app_2":                "",
		"pgboss":                  "",
		"data":                    "", // a key word, not a reserved one
		"between":                 "",
		strings.Repeat("s", 63):   "",
		strings.Repeat("s", 64):   "64 bytes",
		"":                        "empty",
		"Workflows":               "characters",
		"work flows":              "characters",
		"workflöws":               "characters",
		"a.b":                     "characters",
		`a"b`:                     "characters",
		"a;drop schema public":    "characters",
		"a\x00":                   "characters",
		"2nd":                     "digit",
		"pg_workflows":            "belongs to PostgreSQL",
		"pg_catalog":              "belongs to PostgreSQL",
		"information_schema":      "belongs to PostgreSQL",
		"public":                  "",
		"user":                    "reserved",
		"left":                    "reserved",
		"system_user":             "reserved",
		"all":                     "reserved",
		"with":                    "reserved",
		strings.Repeat("é", 4000): "8000 bytes",
	}
	for name, want := range tests {
		err := migrations.ValidateSchema(name)
		switch {
		case want == "" && err != nil:
			t.Errorf("ValidateSchema(%q) = %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("ValidateSchema(%q) = %v, want %q in it", name, err, want)
		case err != nil && (len(err.Error()) > 250 || !strings.HasPrefix(err.Error(), "migrations: ")):
			t.Errorf("ValidateSchema(%q) = %v: badly worded", name, err)
		}
	}
}

// The fixed list has all the words that this server does not take, and no word that it has never heard of
// unless a newer one has.
func TestReservedWords(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(migrations.ReservedWords) {
		t.Error("the list is not sorted")
	}
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	words := strings.Fields(kit.One[string](t, db, `SELECT string_agg(word, ' ') FROM pg_get_keywords() WHERE catcode IN ('R', 'T')`))
	if pgtest.MajorVersion(t) < 16 {
		words = append(words, "system_user")
	}
	slices.Sort(words)
	if diff := cmp.Diff(words, migrations.ReservedWords); diff != "" {
		t.Errorf("reserved words (-server +list):\n%s", diff)
	}
}

// What is accepted is a plain identifier; what is refused says why.
func FuzzValidateSchema(f *testing.F) {
	for _, name := range []string{"workflows", "", "user", "pg_x", "ſ", "a b", "0", "\xff", "_", strings.Repeat("x", 64)} {
		f.Add(name)
	}
	plain := regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\z`)
	f.Fuzz(func(t *testing.T, name string) {
		err := migrations.ValidateSchema(name)
		if err == nil && !plain.MatchString(name) {
			t.Errorf("%q is accepted", name)
		}
		if err != nil && plain.MatchString(name) && !strings.HasPrefix(name, "pg_") &&
			name != "information_schema" && !slices.Contains(migrations.ReservedWords, name) {
			t.Errorf("%q is refused: %v", name, err)
		}
	})
}
