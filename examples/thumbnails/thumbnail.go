package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"time"

	"github.com/sqlworkflow/workflow"
)

// side is the longest that a thumbnail is high or wide, in pixels.
const side = 128

const unreadable = workflow.Code("unreadable") // for programs to match on

// A studio makes thumbnails.
type studio struct {
	name string
	slow time.Duration
}

// thumbnail is the step that is executed by whatever worker the queue gives it to. If the worker dies in the middle, another one
// begins again, so it may run twice, even twice at the same time: it reads one file and replaces another one as a whole (see writeImage),
// so that the second time changes nothing.
func (s *studio) thumbnail(ctx context.Context, p Picture) (Thumbnail, error) {
	content, err := os.ReadFile(p.File)
	if err != nil {
		return Thumbnail{}, err // perhaps the disk is away: it is tried again
	}
	picture, _, err := image.Decode(bytes.NewReader(content))
	if err != nil { // it will not get better: this run fails at once, and no other
		message := fmt.Sprintf("%s is no picture: %v", filepath.Base(p.File), err)
		return Thumbnail{}, workflow.Final(&workflow.Error{Code: unreadable, Message: message})
	}
	small := shrink(picture)
	if err := pause(ctx, s.slow); err != nil {
		return Thumbnail{}, err
	}
	size := small.Bounds().Size()
	return Thumbnail{File: p.To, Width: size.X, Height: size.Y, By: s.name}, writeImage(p.To, small)
}

// shrink returns a picture of at most side by side pixels, each the average of those that it stands for. That is all a thumbnail
// needs, and takes nothing but the standard library.
func shrink(picture image.Image) *image.RGBA {
	size := picture.Bounds().Size()
	full := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(full, full.Bounds(), picture, picture.Bounds().Min, draw.Src)
	longest := max(size.X, size.Y, side)
	width, height := max(size.X*side/longest, 1), max(size.Y*side/longest, 1)
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			small.SetRGBA(x, y, average(full,
				image.Rect(x*size.X/width, y*size.Y/height, (x+1)*size.X/width, (y+1)*size.Y/height)))
		}
	}
	return small
}

func average(picture *image.RGBA, area image.Rectangle) color.RGBA {
	var sum [4]int
	for y := area.Min.Y; y < area.Max.Y; y++ {
		from := picture.PixOffset(area.Min.X, y)
		for i, value := range picture.Pix[from : from+4*area.Dx()] {
			sum[i%4] += int(value)
		}
	}
	n := area.Dx() * area.Dy()
	return color.RGBA{R: uint8(sum[0] / n), G: uint8(sum[1] / n), B: uint8(sum[2] / n), A: uint8(sum[3] / n)}
}
