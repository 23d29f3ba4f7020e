package migrations

import (
	"bytes"
	"io/fs"
	"strings"
)

// placeholder is how the files spell the schema: goose's substitution from the environment, so that
// the goose command can run them as they are.
const placeholder = "${WORKFLOW_SCHEMA:-" + DefaultSchema + "}"

// files is FS as goose shall see it for one schema. Replacing the text here keeps the environment of
// the process out of it, and lets several schemas be migrated at once.
type files struct {
	schema string
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
	text = bytes.ReplaceAll(text, []byte(placeholder), []byte(f.schema))
	return &file{Reader: bytes.NewReader(text), info: sized{info, int64(len(text))}}, nil
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
