package migrations

import (
	"bytes"
	"io/fs"
	"strings"
	"time"
)

// How the files spell what differs from one use to another: goose's substitution from the environment, so
// that the goose command can run them as they are.
const (
	schemaPlaceholder      = "${WORKFLOW_SCHEMA:-" + DefaultSchema + "}"
	lockTimeoutPlaceholder = "${WORKFLOW_LOCK_TIMEOUT:-2s}"
)

// files is FS as goose shall see it for one schema. Replacing the text here keeps the environment of
// the process out of it, and lets several schemas be migrated at once.
type files struct {
	schema      string
	lockTimeout time.Duration
}

// Open implements fs.FS.
func (f files) Open(name string) (fs.File, error) {
	if !strings.HasSuffix(name, ".sql") {
		return FS.Open(name)
	}
	info, err := fs.Stat(FS, name)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(FS, name)
	if err != nil {
		return nil, err
	}
	text = f.render(text)
	return &file{Reader: bytes.NewReader(text), info: sized{info, int64(len(text))}}, nil
}

func (f files) render(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte(schemaPlaceholder), []byte(f.schema))
	return bytes.ReplaceAll(text, []byte(lockTimeoutPlaceholder), []byte(milliseconds(f.lockTimeout)))
}

// file is one migration, rendered.
type file struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// sized corrects the size of a file whose text was replaced.
type sized struct {
	fs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }
