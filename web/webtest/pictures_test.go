package webtest_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

var (
	update = flag.Bool("update", false, "write the pictures of docs/dashboard.md")
	looks  = flag.String("looks", "", "write every page, light and dark, wide and narrow, into this folder")
)

// look sets how the browser looks at pages.
func look(scheme string, width, height int64) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		if err := emulation.SetDeviceMetricsOverride(width, height, 1, width < 500).Do(ctx); err != nil {
			return err
		}
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}).Do(ctx)
	})
}

// shoot writes what the browser shows.
func (b *bench) shoot(path string) {
	b.t.Helper()
	var picture []byte
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		picture, err = page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatPng).Do(ctx)
		return err
	}))
	kit.Must(b.t, os.WriteFile(path, picture, 0o644))
}

// The pictures of docs/dashboard.md are of what this makes: with -update it writes them anew. They stay small.
func TestPictures(t *testing.T) {
	b := setup(t, web.Options{Allow: everything, Title: "Shop workflows"})
	paint(t, b.db)
	kit.Exec(t, b.db, `
		DELETE FROM workflows.workflow_runs WHERE id = '0199c2a6-hostile';
		UPDATE workflows.workflow_runs SET workflow = 'invoice' WHERE id = '0199c2a5-unserved'`)
	text, err := os.ReadFile("../../docs/dashboard.md")
	kit.Must(t, err)
	for _, picture := range []struct {
		name, scheme  string
		width, height int64
		at, sees      string
	}{
		{"overview", "light", 1280, 800, "", "Needs a look"},
		{"run", "light", 1280, 720, "run?id=0199c2f1-everything", "cool down"},
		{"why", "dark", 1280, 480, "run?id=0199c2a1-retries", "attempt 3 of 5"},
		{"runs", "dark", 1280, 640, "runs?attributes=&status=failed&status=suspended", "the bank said no"},
		{"phone", "light", 390, 800, "run?id=0199c2a2-asks", "umbrella leaks"},
	} {
		b.do(look(picture.scheme, picture.width, picture.height))
		b.open(picture.at)
		b.sees(picture.sees)
		file := "dashboard-" + picture.name + ".png"
		path := filepath.Join("..", "..", "docs", file)
		if *update {
			b.shoot(path)
		}
		info, err := os.Stat(path)
		kit.Must(t, err)
		if info.Size() > 150_000 {
			t.Errorf("%s has %d bytes", file, info.Size())
		}
		if !strings.Contains(string(text), "("+file+")") {
			t.Errorf("docs/dashboard.md does not show %s", file)
		}
	}
}

// With -looks it writes pictures of all pages for people to judge.
func TestLooks(t *testing.T) {
	if *looks == "" {
		t.Skip("it is for people: -looks=folder")
	}
	b := setup(t, web.Options{Allow: everything, Title: "Shop workflows"})
	paint(t, b.db)
	for _, way := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1280, 1100}, {"dark", "dark", 1280, 1100}, {"phone", "light", 390, 1800}} {
		b.do(look(way.scheme, way.width, way.height))
		for name, at := range map[string]string{
			"overview": "", "runs": "runs", "runs-none": "runs?workflow=none", "failed": "runs?status=failed", "run": "run?id=0199c2f1-everything",
			"run-asks": "run?id=0199c2a2-asks", "run-retries": "run?id=0199c2a1-retries", "run-running": "run?id=0199c2a0-running",
			"run-hostile": "run?id=0199c2a6-hostile", "run-blocked": "run?id=0199c2a4-blocked", "run-unserved": "run?id=0199c2a5-unserved",
			"run-none": "run?id=none", "queues": "queues", "schedules": "schedules", "approvals": "approvals", "workers": "workers",
		} {
			b.do(chromedp.Navigate(b.address(at)))
			b.shoot(filepath.Join(*looks, way.name+"-"+name+".png"))
		}
	}
}
