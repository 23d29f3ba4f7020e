package migrations_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

var update = flag.Bool("update", false, "write testdata/schema.golden from the catalog")

const golden = "testdata/schema.golden"

func goldenSchema(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v (write it with go test ./migrations -run Golden -update)", err)
	}
	return string(text)
}

// Each migration shows as a diff in the golden file, and its Down takes back exactly what its Up did.
func TestGolden(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	up(t, db, schema)
	if *update {
		if err := os.WriteFile(golden, []byte(dumpTables(t, db, schema)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(goldenSchema(t), dumpTables(t, db, schema)+"\n"); diff != "" {
			t.Errorf("%s the schema is not that of %s (-want +got):\n%s", when, golden, diff)
		}
	}
	check("after Up")

	// One by one, so that the schema of each version is compared on the way down and up again.
	var versions []int64
	status, err := migrations.Status(t.Context(), db, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range status {
		versions = append(versions, m.Version)
	}
	for _, version := range slices.Backward(append([]int64{0}, versions[:len(versions)-1]...)) {
		down(t, db, schema, version)
		up(t, db, schema)
		check("after Down and Up again")
	}

	down(t, db, schema, 0)
	if left := dumpTables(t, db, schema); left != "" {
		t.Errorf("Down to 0 leaves %s", left)
	}
	wantVersions(t, db, schema+".workflow_migrations", "0")
	up(t, db, schema)
	check("after Down to 0 and Up again")
}

func TestGoldenInOtherSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PGX)
	for _, name := range []string{"other_schema", "public"} {
		up(t, db, name)
		// What is on the search_path is shown without its schema.
		want, got := strings.ReplaceAll(goldenSchema(t), schema+".", ""), strings.ReplaceAll(dumpTables(t, db, name), name+".", "")
		if diff := cmp.Diff(want, got+"\n"); diff != "" {
			t.Errorf("schema %s differs from %s (-want +got):\n%s", name, golden, diff)
		}
	}
	if kit.One[bool](t, db, `SELECT to_regnamespace('`+schema+`') IS NOT NULL`) {
		t.Errorf("schema %s was made too", schema)
	}
}

// The list that drift is judged by is complete, and asks for nothing that is not there.
func TestRequiredColumns(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PQ)
	got := kit.One[string](t, db, `
SELECT string_agg(table_name || '.' || column_name, ' ')
FROM information_schema.columns
WHERE table_schema = '`+schema+`' AND table_name <> 'workflow_migrations'`)
	want := migrations.Required()
	have := strings.Fields(got)
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("columns (-required +there):\n%s", diff)
	}
}
