package main

import (
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// findAlbums returns an album for each folder in folder.
func findAlbums(folder, out string) ([]Album, error) {
	folder, err := filepath.Abs(folder) // the workers are started elsewhere
	if err != nil {
		return nil, err
	}
	if out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if from, err := filepath.Rel(folder, out); err == nil && from != ".." && !strings.HasPrefix(from, ".."+string(filepath.Separator)) {
		return nil, fmt.Errorf("%s is in %s: thumbnails would be taken for pictures", out, folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var albums []Album
	for _, entry := range entries {
		if entry.IsDir() {
			name := entry.Name()
			albums = append(albums, Album{Name: name, Folder: filepath.Join(folder, name), Out: out})
		}
	}
	if len(albums) == 0 {
		return nil, fmt.Errorf("there is no folder in %s: each of them is an album", folder)
	}
	return albums, nil
}

// listPictures returns what lies in an album's folder, in the order of the names.
func listPictures(a Album) ([]Picture, error) {
	entries, err := os.ReadDir(a.Folder)
	if err != nil {
		return nil, err
	}
	var pictures []Picture
	for _, entry := range entries {
		switch name := entry.Name(); strings.ToLower(filepath.Ext(name)) {
		case ".jpg", ".jpeg", ".png":
			pictures = append(pictures, Picture{File: filepath.Join(a.Folder, name), To: filepath.Join(a.Out, a.Name, name)})
		}
	}
	return pictures, nil
}

// writeImage writes a picture as a PNG or a JPEG, as the file's name says.
//
// A step calls it, and a step may run twice: a worker may die when the file is written and its step is not recorded, and a worker that
// was only frozen may go on beside the one that has taken over. So nobody ever sees half a file: it is written under a name that is
// nobody else's, and renamed when it is complete. Whoever comes second replaces it by the same. Of a process that is killed in
// between, a file .new-* stays behind that means nothing.
func writeImage(path string, picture image.Image) (err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	err = encode(file, path, picture)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync() // what the database says is done is on the disk
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func encode(to io.Writer, path string, picture image.Image) error {
	if strings.EqualFold(filepath.Ext(path), ".png") {
		return png.Encode(to, picture)
	}
	return jpeg.Encode(to, picture, &jpeg.Options{Quality: 85})
}
