package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sqlworkflow/workflow/web"
)

// An application lets those who are signed in look, and its operators act. Who somebody is, it knows itself: here from a header that its
// proxy sets.
func Example() {
	svc, closeAll := newService()
	defer closeAll()

	user := func(r *http.Request) string { return r.Header.Get("X-User") }
	operators := map[string]bool{"anna": true}
	dashboard := web.New(svc, web.Options{
		User: user,
		Allow: func(r *http.Request, action web.Action, on web.Target) bool {
			switch action {
			case web.ActionView:
				return user(r) != ""
			case web.ActionPayloads:
				return operators[user(r)] && on.Workflow != "payroll"
			case web.ActionCancel, web.ActionResume, web.ActionPauseQueue, web.ActionResumeQueue:
				return operators[user(r)]
			default:
				return false
			}
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/workflows/", dashboard)

	for _, who := range []string{"", "berta", "anna"} {
		look := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/workflows/runs", http.NoBody)
		look.Header.Set("X-User", who)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, look)
		fmt.Printf("%q: %d\n", who, answer.Code)
	}
	// Output:
	// "": 403
	// "berta": 200
	// "anna": 200
}
