package workflow_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Documents rot where nothing holds them to the code. These tests do.

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	kit.Must(t, err)
	return string(text)
}

var testName = regexp.MustCompile("`(?:([a-z_/]+)\\.)?((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)`")

// Each promise and each rule has tests, and whatever test a document names exists.
func TestDocumentsNameTests(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("docs/*.md")
	kit.Must(t, err)
	known := make(map[string]string) // by folder: its tests
	for _, path := range documents {
		for section := range strings.SplitSeq(document(t, path), "\n## ") {
			title, _, _ := strings.Cut(section, "\n")
			names := testName.FindAllStringSubmatch(section, -1)
			if len(names) == 0 && path == "docs/guarantees.md" {
				t.Errorf("%s: %q names no test", path, title)
			}
			for _, name := range names {
				folder, test := filepath.Join(".", name[1]), name[2]
				if known[folder] == "" {
					known[folder] = testsIn(t, folder)
				}
				if !strings.Contains(known[folder], "\nfunc "+test+"(") {
					t.Errorf("%s: %q names %s, which is not in folder %q", path, title, test, folder)
				}
			}
		}
	}
}

// testsIn returns the source of the tests of a folder.
func testsIn(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	kit.Must(t, err)
	var all strings.Builder
	for _, file := range files {
		all.WriteString(document(t, file))
	}
	return all.String()
}

var (
	link   = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`)
	source = regexp.MustCompile("`((?:[a-z_]+/)+[a-z_]+\\.[a-z]+)`")
	title  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fences = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`") // where a type parameter before a call looks like a link
)

// What a document links to is there, and so are the files that it speaks of.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("docs/*.md")
	kit.Must(t, err)
	for _, path := range append(documents, "README.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		text := document(t, path)
		for _, found := range link.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			target, anchor := filepath.Join(filepath.Dir(path), found[1]), found[2]
			if found[1] == "" {
				target = path
			}
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if anchor != "" && !slices.Contains(anchors(document(t, target)), anchor) {
				t.Errorf("%s: %s has no section #%s", path, target, anchor)
			}
		}
		for _, found := range source.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(found[1]); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// anchors returns what the sections of a document are linked by.
func anchors(text string) (all []string) {
	for _, found := range title.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			default:
				return -1
			}
		}, found[1]))
	}
	return all
}

// The README is read in one go.
func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(document(t, "README.md"), "\n"); lines > 200 {
		t.Errorf("it has %d lines, at most 200", lines)
	}
}

var update = flag.Bool("update", false, "rewrite the tables of docs/speed.md from bench/RESULTS.md")

// A figure is the median; the bench writes its spread behind it.
var figure = regexp.MustCompile(`^\**([^*(]+?)\**(?: \(.*\))?$`)

// rows returns the rows of the tables in a document, by the first line of the table and the first cell of the row.
func rows(text string) map[string]map[string][]string {
	tables := make(map[string]map[string][]string)
	head := ""
	for line := range strings.SplitSeq(text, "\n") {
		cells := cellsOf(line)
		switch {
		case cells == nil:
			head = ""
		case head == "":
			head = line
			tables[head] = make(map[string][]string)
		default:
			tables[head][cells[0]] = cells[1:]
		}
	}
	return tables
}

func cellsOf(line string) (cells []string) {
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
		cells = append(cells, figure.ReplaceAllString(strings.TrimSpace(cell), "$1"))
	}
	return cells
}

// headLike returns the first line of the table that was measured under the same title, which may have other columns now.
func headLike(line string, measured map[string]map[string][]string) string {
	if measured[line] != nil || cellsOf(line)[0] == "" {
		return line
	}
	for head := range measured {
		if cellsOf(head)[0] == cellsOf(line)[0] {
			return head
		}
	}
	return line
}

// Figures are those of the bench, as it wrote them down: in docs/speed.md cell by cell, and in the README each of them somewhere.
func TestFiguresAreTheBenchs(t *testing.T) {
	t.Parallel()
	results := document(t, "bench/RESULTS.md")
	measured, head := rows(results), ""
	lines := strings.Split(document(t, "docs/speed.md"), "\n")
	for i, line := range lines {
		cells := cellsOf(line)
		switch {
		case cells == nil:
			head = ""
			continue
		case head == "":
			if *update {
				lines[i] = headLike(line, measured)
			}
			head = lines[i]
			continue
		case strings.HasPrefix(cells[0], "---"):
			lines[i] = "|" + strings.Repeat("---|", len(cellsOf(head)))
			continue
		}
		want, found := measured[head][cells[0]]
		if !found {
			t.Errorf("docs/speed.md: %q is not in bench/RESULTS.md under %q", cells[0], head)
			continue
		}
		lines[i] = "| " + cells[0] + " | " + strings.Join(want, " | ") + " |"
		if lines[i] != line && !*update {
			t.Errorf("docs/speed.md has    %s\nbench/RESULTS.md has %s", line, lines[i])
		}
	}
	if *update {
		kit.Must(t, os.WriteFile("docs/speed.md", []byte(strings.Join(lines, "\n")), 0o644))
	}
	for line := range strings.SplitSeq(document(t, "README.md"), "\n") {
		if cells := cellsOf(line); len(cells) > 1 && strings.Contains(cells[0], "runs/s") {
			for _, number := range regexp.MustCompile(`\d[\d,.]*`).FindAllString(strings.Join(cells[1:], " "), -1) {
				if !regexp.MustCompile(`[ *]` + regexp.QuoteMeta(number) + `[ *]`).MatchString(results) {
					t.Errorf("README.md: %s is not in bench/RESULTS.md: %s", number, line)
				}
			}
		}
	}
}

// The statements in docs/operations.md are accepted by the server, and the rights that it lists are enough to work with.
func TestStatementsOfTheDocuments(t *testing.T) {
	t.Parallel()
	pg := pgtest.New(t)
	owner := pg.Open(t, pgtest.PGX)
	var role *pgtest.Database
	blocks := strings.Split(document(t, "docs/operations.md"), "```sql\n")[1:]
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		for statement := range strings.SplitSeq(strings.TrimSpace(block), ";\n") {
			if !strings.HasPrefix(statement, "GRANT") {
				kit.Exec(t, owner, statement)
			}
		}
		if strings.Contains(block, "GRANT") {
			role = pg.Role(t, strings.ReplaceAll(block, " TO app", " TO {role}"))
		}
	}
	db := role.Open(t, pgtest.PGX)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	defer svc.Close()
	kit.Must(t, svc.Init(t.Context()))
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { return workflow.Do(ctx, "s", value(1)) })
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	kit.Must(t, err)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 1 {
		t.Errorf("result %d, %v", got, err)
	}
	kit.Must(t, svc.DeleteRun(t.Context(), handle.RunID()))
}

var logLine = regexp.MustCompile(`\{slog\.Level(\w+), "([^"]+)"\}`)

// Every line that the library logs stands in docs/operations.md, at its level.
func TestLogLinesAreDocumented(t *testing.T) {
	t.Parallel()
	lines := logLine.FindAllStringSubmatch(document(t, "internal/engine/write/observe.go"), -1)
	if len(lines) < 10 {
		t.Fatalf("found %d kinds of log lines", len(lines))
	}
	rows := strings.Split(document(t, "docs/operations.md"), "\n")
	for _, line := range lines {
		level, message := strings.ToLower(line[1]), line[2]
		if !slices.ContainsFunc(rows, func(row string) bool {
			return strings.HasPrefix(row, "| "+level+" |") && strings.Contains(row, message)
		}) {
			t.Errorf("level %s, %q is not in the table", level, message)
		}
	}
}
