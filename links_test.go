package workflow_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// An application that imports the library links this much besides the standard library: no driver, no test library and no
// command-line library.
func TestWhatAnApplicationLinks(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(kit.Context(t), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	list.Env = append(os.Environ(), "GOPROXY=off") // all of it was needed to build this test
	out, err := list.Output()
	kit.Must(t, err)
	allowed := map[string]bool{
		"github.com/sqlworkflow/workflow": true,
		"github.com/jmoiron/sqlx":         true,
		"github.com/google/uuid":          true,
		"github.com/netresearch/go-cron":  true,
		"github.com/pressly/goose/v3":     true,
		"github.com/mfridman/interpolate": true, // goose's, as the next ones
		"github.com/sethvargo/go-retry":   true,
		"go.uber.org/multierr":            true,
		"golang.org/x/sync":               true,
	}
	for module := range strings.FieldsSeq(string(out)) {
		if !allowed[module] {
			t.Errorf("the library links %s", module)
		}
	}
}
