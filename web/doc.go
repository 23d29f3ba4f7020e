// Package web is the dashboard: an [http.Handler] that an application mounts, on a [workflow.Service] of its own or on that of a worker.
//
//	mux.Handle("/workflows/", web.New(svc, web.Options{Allow: operatorsOnly}))
//
// It shows what runs, waits and fails, since when and why; and lets those whom [Options.Allow] names do something about it. Each page is one
// segment below the place where it is mounted, and its links are relative, so any prefix will do, stripped or not, behind any proxy.
//
// Pages are made on the server and need no script; with one they stay up to date by themselves. Nothing is loaded from elsewhere. The
// handler sets a strict Content-Security-Policy and refuses what comes from other sites ([http.CrossOriginProtection]). What a page reads is
// bounded, however many runs there are.
//
// Who may see it at all is for the application to say: put its own sign-in around the handler, or answer [ActionView] in Options.Allow.
package web
