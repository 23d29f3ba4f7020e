package webtest_test

import (
	"net/http"

	"github.com/sqlworkflow/workflow/web"
)

func everything(*http.Request, web.Action, web.Target) bool { return true }

func nothing(*http.Request, web.Action, web.Target) bool { return false }
