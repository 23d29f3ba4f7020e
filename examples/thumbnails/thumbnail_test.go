package main

import (
	"errors"
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

var (
	red  = rgb(200, 0, 0)
	blue = rgb(0, 0, 100)
)

// halves is red on the left and blue on the right.
func halves(width, height int) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(red), image.Point{}, draw.Src)
	draw.Draw(picture, image.Rect(width/2, 0, width, height), image.NewUniform(blue), image.Point{}, draw.Src)
	return picture
}

func TestShrink(t *testing.T) {
	t.Parallel()
	striped := image.NewRGBA(image.Rect(0, 0, 256, 256)) // a column of each, in turn
	for x := range 256 {
		column := image.NewUniform([]color.RGBA{red, blue}[x%2])
		draw.Draw(striped, image.Rect(x, 0, x+1, 256), column, image.Point{}, draw.Src)
	}
	tests := map[string]struct {
		picture     image.Image
		size        image.Point
		left, right color.RGBA
	}{
		"wide":                    {halves(512, 256), image.Pt(128, 64), red, blue},
		"high":                    {halves(256, 512), image.Pt(64, 128), red, blue},
		"of an odd size":          {halves(999, 701), image.Pt(128, 89), red, blue},
		"a line":                  {halves(1000, 1), image.Pt(128, 1), red, blue},
		"small already":           {halves(10, 4), image.Pt(10, 4), red, blue},
		"averaged":                {striped, image.Pt(128, 128), rgb(100, 0, 50), rgb(100, 0, 50)},
		"part of another picture": {halves(512, 256).SubImage(image.Rect(256, 0, 512, 128)), image.Pt(128, 64), blue, blue},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			small := shrink(test.picture)
			size := small.Bounds().Size()
			if size != test.size {
				t.Fatalf("it is %v, want %v", size, test.size)
			}
			left, right := small.RGBAAt(0, size.Y-1), small.RGBAAt(size.X-1, 0)
			if left != test.left || right != test.right {
				t.Errorf("its ends are %v and %v, want %v and %v", left, right, test.left, test.right)
			}
		})
	}
}

// A step may run twice at the same time: whoever looks meanwhile sees a whole picture.
func TestFilesAreAlwaysWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &studio{name: "me"}
	p := Picture{File: filepath.Join(dir, "in.png"), To: filepath.Join(dir, "out", "in.png")}
	kit.Must(t, writeImage(p.File, halves(300, 200)))
	_, err := s.thumbnail(t.Context(), p)
	kit.Must(t, err)

	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 5 {
				if _, err := s.thumbnail(t.Context(), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := kit.Go(t, func() bool { writers.Wait(); return true })
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		tile, err := readTile(p.To)
		kit.Must(t, err)
		if size := tile.Bounds().Size(); size != image.Pt(128, 85) {
			t.Fatalf("a picture of %v", size)
		}
	}
	files, err := os.ReadDir(filepath.Dir(p.To))
	kit.Must(t, err)
	if len(files) != 1 {
		t.Errorf("%d files are left: %v", len(files), files)
	}
}

// What is no picture fails at once. What cannot be read now is tried again.
func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := &studio{}
	_, err := s.thumbnail(t.Context(), Picture{File: filepath.Join("photos", "desert", "broken.jpg"), To: filepath.Join(t.TempDir(), "x.jpg")})
	kit.WantIs(t, err, unreadable)
	if !strings.Contains(err.Error(), "broken.jpg is no picture") {
		t.Errorf("it says %q", err)
	}
	_, err = s.thumbnail(t.Context(), Picture{File: "nothing.jpg"})
	kit.WantIs(t, err, os.ErrNotExist)
	var refused *workflow.Error
	if errors.As(err, &refused) {
		t.Errorf("a file that is not there is refused for good: %v", err)
	}
}

func TestSheet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wide := filepath.Join(dir, "wide.png")
	kit.Must(t, writeImage(wide, halves(128, 64)))
	sheet := filepath.Join(dir, "sheet.png")
	kit.Must(t, makeSheet(sheet, []string{wide, "", wide, wide, wide, wide, wide})) // seven: four in a line
	picture, err := readTile(sheet)
	kit.Must(t, err)
	if size := picture.Bounds().Size(); size != image.Pt(8+4*136, 8+2*136) {
		t.Fatalf("the sheet is %v", size)
	}
	for _, test := range []struct {
		what string
		at   image.Point
		want color.RGBA
	}{
		{"the first tile's left", image.Pt(8, 8+64), red},
		{"the first tile's right", image.Pt(8+127, 8+64), blue},
		{"above it", image.Pt(8+64, 8+16), paper},
		{"the gap", image.Pt(4, 4), paper},
		{"the second, which could not be read", image.Pt(136+8, 8), empty},
		{"the last", image.Pt(2*136+8, 136+8+64), red},
		{"behind the last", image.Pt(3*136+8+64, 136+8+64), paper},
	} {
		if got := color.RGBAModel.Convert(picture.At(test.at.X, test.at.Y)); got != test.want {
			t.Errorf("%s is %v, want %v", test.what, got, test.want)
		}
	}
	if err := makeSheet(sheet, []string{filepath.Join(dir, "gone.png")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a sheet of a thumbnail that is gone: %v", err)
	}
}
