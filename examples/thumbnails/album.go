package main

import (
	"context"
	"path/filepath"

	"github.com/sqlworkflow/workflow"
)

// queue is where pictures wait until a worker has room for them. What is stored has a name, which must not change.
const queue = "thumbnails"

// limits are those of the queue when it is made. They are kept in the database, where an operator may change them while all of this
// goes on (SetQueue); they hold for all processes together, counted from what is running, so none of them has to know of another.
var limits = workflow.Queue{
	Name:         queue,
	MaxRunning:   5, // pictures at once, in the whole fleet: the disk that they are on can take no more
	MaxPerWorker: 2, // pictures at once in one process: it has no memory for more
}

// Album is a folder of pictures, and the input of a run.
type Album struct {
	Name   string
	Folder string
	Out    string // where the thumbnails go
}

// Picture is the input of a run that makes one thumbnail.
type Picture struct{ File, To string }

// Thumbnail is what that returns.
type Thumbnail struct {
	File          string
	Width, Height int
	By            string // the worker that has made it
}

// Made is what an album's run returns.
type Made struct {
	Sheet      string // the contact sheet; "" of an empty album
	Unreadable []string
}

var (
	album = workflow.Define("album", makeAlbum)

	// Another process makes the thumbnails (see work.go). To call a workflow, its name and its types are enough.
	remote = workflow.DefineStep[Picture, Thumbnail]("thumbnail", nil)
)

// makeAlbum is the workflow. It starts a run for each picture, all in one statement, waits until all have ended, and puts what they
// have made on one sheet. While it waits it is a row in a table, and the pictures are rows on the queue: a hundred thousand of them
// would take no memory, and no more than limits allows are at work.
//
// Each album is a partition of the queue. These take turns: an album of ten pictures is done soon, although one of ten thousand was
// there before it.
func makeAlbum(ctx context.Context, a Album) (Made, error) {
	pictures, err := workflow.Do(ctx, "list", func(context.Context) ([]Picture, error) {
		return listPictures(a) // recorded, so that a picture that comes later does not change what was begun
	})
	if err != nil || len(pictures) == 0 {
		return Made{}, err
	}
	results, err := workflow.CallAll(ctx, "thumbnails", remote, pictures,
		workflow.WithQueue(queue), workflow.WithPartition(a.Name))
	if err != nil { // perhaps the run is parked until the pictures are done: return it
		return Made{}, err
	}
	// One picture that cannot be read is no reason to have no album.
	var made Made
	tiles := make([]string, len(results)) // "" where there is no thumbnail
	for i, result := range results {
		tiles[i] = result.Value.File
		if result.Err != nil {
			made.Unreadable = append(made.Unreadable, filepath.Base(pictures[i].File))
		}
	}
	made.Sheet, err = workflow.Do(ctx, "sheet", func(context.Context) (string, error) {
		file := filepath.Join(a.Out, a.Name+".jpg")
		return file, makeSheet(file, tiles)
	})
	return made, err
}
