package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
)

//go:embed assets/style.css
var style []byte

//go:embed assets/app.js
var script []byte

//go:embed assets/icon.svg
var icon []byte

// Each address has a hash of the content, so that browsers may keep it.
var (
	styleAddress  = addressOf("style.css", style)
	scriptAddress = addressOf("app.js", script)
)

var assets = map[string]struct {
	content []byte
	kind    string
}{
	"style.css": {style, "text/css; charset=utf-8"},
	"app.js":    {script, "text/javascript; charset=utf-8"},
	"icon.svg":  {icon, "image/svg+xml"},
}

func addressOf(name string, content []byte) string {
	sum := sha256.Sum256(content)
	return name + "?v=" + hex.EncodeToString(sum[:6])
}

// serveAsset reports whether there is a file of that name. They are the same for everybody, so nobody is asked who may have them.
func serveAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	asset, ok := assets[name]
	if !ok {
		return false
	}
	w.Header().Set("Content-Type", asset.kind)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	if r.URL.RawQuery != "" {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Method == http.MethodHead {
		return true
	}
	_, _ = w.Write(asset.content) // whoever asked may have gone
	return true
}
