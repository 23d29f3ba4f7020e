package web

import (
	"net/http"
	"strings"
)

// policy allows this handler's own script and style sheet, pages asked for by that script, and forms that are sent here.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets what every answer has, refused ones too, and refuses what other sites have sent.
func secured(origins *http.CrossOriginProtection, next http.Handler, d *dashboard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		// Not no-referrer: that would make browsers send the Origin of a form as null, which looks like another site's.
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if err := origins.Check(r); err != nil {
			d.fail(w, r, &problem{http.StatusForbidden, "This came from another site",
				"Only pages of this dashboard may ask it to do something. Behind a proxy that changes the Host header, allow its origin: Options.CrossOrigin."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// partial reports whether the script of an open page asks, which takes the part that changes alone.
func partial(r *http.Request) bool { return r.Header.Get("Workflow-Live") != "" }

// formBytes is the longest form that is read: a signal's payload, encoded for its way.
const formBytes = 4 << 20

func readForm(w http.ResponseWriter, r *http.Request) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return &problem{http.StatusUnsupportedMediaType, "This is not a form of this page", ""}
	}
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		return &problem{http.StatusBadRequest, "The form cannot be read", err.Error()}
	}
	return nil
}
