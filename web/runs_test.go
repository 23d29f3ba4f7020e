package web_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// The list has the filters of its address, and pages from the newest on, of which each run is on one.
func TestRuns(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "runs").is(200, "No run yet")
	for i := range 60 {
		b.created(fmt.Sprintf("run-%02d", i), i)
	}
	b.created("a/b c?&#<>", 1)
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), "run-07", workflow.RunFailed, nil, &workflow.Error{Message: "no money", Code: "broke"}))
	kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET created_at = created_at - 86400000, workflow = 'old' WHERE id = 'run-05'`)
	kit.Exec(t, b.db, `INSERT INTO workflows.workflow_attributes SELECT created_at, id, 'tenant', 'acme' FROM workflows.workflow_runs WHERE id = 'run-09'`)

	first := b.get(web.Options{}, "runs").is(200, "Older")
	seen := idsOf(first)
	next := regexp.MustCompile(`href="(runs\?cursor=[^"]*)" data-next`).FindStringSubmatch(first.text())
	if len(next) == 0 {
		t.Fatalf("no next page: %s", first.text())
	}
	second := b.get(web.Options{}, html.UnescapeString(next[1])).is(200, "Newest")
	second.lacks("Older")
	seen = append(seen, idsOf(second)...)
	if len(seen) != 61 {
		t.Errorf("%d runs on two pages, want 61: %q", len(seen), seen)
	}

	for query, want := range map[string]string{
		"runs?status=failed":                           "run-07",
		"runs?status=failed&status=cancelled":          "run-07",
		"runs?workflow=old":                            "run-05",
		"runs?attributes=tenant%3Dacme":                "run-09",
		"runs?to=" + yesterday(b) + "&workflow=":       "run-05",
		"runs?for=signal":                              "",
		"runs?workflow=order&status=failed&for=signal": "",
	} {
		a := b.get(web.Options{}, query).is(200)
		if got := strings.Join(idsOf(a), " "); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
	}
	b.get(web.Options{}, "runs?status=failed").is(200, "no money", `value="failed" checked`)
	b.get(web.Options{}, "runs?status=cancelled").is(200, "No run matches")
	b.get(web.Options{}, "runs?find=a%2Fb+c%3F%26%23%3C%3E").leads("run?id=a%2Fb+c%3F%26%23%3C%3E")
	b.get(web.Options{}, "run?id=a%2Fb+c%3F%26%23%3C%3E").is(200, "a/b c?&amp;#&lt;&gt;")
	for query, word := range map[string]string{
		"runs?status=lost": "no such status", "runs?from=noon": "That is no time", "runs?attributes=x": "name=value", "runs?cursor=x": "no page returned it",
	} {
		b.get(web.Options{}, query).is(http.StatusBadRequest, word)
	}
}

var runLink = regexp.MustCompile(`<a class="mono" href="run\?id=([^"]*)"`)

func idsOf(a answer) (ids []string) {
	for _, found := range runLink.FindAllStringSubmatch(a.text(), -1) {
		ids = append(ids, found[1])
	}
	return ids
}

// yesterday is a time that is a little after one day ago.
func yesterday(b *bench) string {
	return kit.One[string](b.t, b.db, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '12 hours', 'YYYY-MM-DD"T"HH24:MI')`)
}
