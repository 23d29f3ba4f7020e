package workflow_test

import (
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m, child) }

// children are the other processes of tests, by what they do.
var children = map[string]func(url string) error{"rogues": rogueChild, "consumer": consumerChild}

// child is main in another process: its task is a database's address, with what it does before that unless it is a worker.
func child(task string) error {
	if does, url, named := strings.Cut(task, " "); named {
		return children[does](url)
	}
	return workerChild(task)
}
