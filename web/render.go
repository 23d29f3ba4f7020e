package web

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed templates
var templates embed.FS

// pages are the templates by name, each with the frame around it.
type pages map[string]*template.Template

// parsePages panics on a mistake in a template, which the first test would meet.
func parsePages() pages {
	frame := template.Must(template.New("frame").Funcs(functions).ParseFS(templates, "templates/frame.html", "templates/parts.html"))
	files, err := templates.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	all := make(pages)
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".html")
		if name != "frame" && name != "parts" {
			all[name] = template.Must(template.Must(frame.Clone()).ParseFS(templates, path.Join("templates", file.Name())))
		}
	}
	return all
}

// A frame is what stands around each page.
type frame struct {
	Title    string // of the dashboard
	Heading  string // of the page
	Page     string // its template
	Nav      []navItem
	ReadOnly bool
	Live     int // milliseconds between looks; 0: none
	Notice   string
	Data     any
	Style    string // addresses with the version of the file
	Script   string
}

type navItem struct {
	To, Label, Key string
	Here           bool
}

var nav = []struct{ to, label, key string }{
	{"./", "Overview", "o"}, {"runs", "Runs", "r"}, {"queues", "Queues", "q"}, {"schedules", "Schedules", "s"},
	{"approvals", "Approvals", "a"}, {"workers", "Workers", "w"},
}

// render writes a page, or, for the script of an open one, the part that changes.
func (d *dashboard) render(w http.ResponseWriter, r *http.Request, p page) {
	f := frame{
		Title: d.options.Title, Heading: p.title, Page: p.template, ReadOnly: d.options.ReadOnly || d.options.Allow == nil,
		Notice: notices[r.URL.Query().Get("done")], Data: p.data, Style: styleAddress, Script: scriptAddress,
	}
	if p.live && d.options.Refresh > 0 {
		f.Live = int(d.options.Refresh / time.Millisecond)
	}
	here := lastSegment(r.URL.Path)
	for _, item := range nav {
		f.Nav = append(f.Nav, navItem{item.to, item.label, item.key, strings.TrimPrefix(item.to, "./") == here || item.to == "runs" && here == "run"})
	}
	name := "frame.html"
	if partial(r) {
		name = "main"
	}
	var out bytes.Buffer
	if err := d.pages[p.template].ExecuteTemplate(&out, name, f); err != nil {
		d.options.Logger.LogAttrs(r.Context(), slog.LevelError, "dashboard failed", slog.String("page", r.URL.Path), slog.Any("error", err))
		http.Error(w, "this page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.status != 0 {
		w.WriteHeader(p.status)
	}
	_, _ = out.WriteTo(w) // whoever asked may have gone
}
