package main

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"os"
)

const gap = 8 // pixels between the thumbnails on a sheet

var (
	paper = color.RGBA{R: 250, G: 249, B: 245, A: 255}
	empty = color.RGBA{R: 214, G: 208, B: 200, A: 255} // in the place of a picture that could not be read
)

// makeSheet puts thumbnails side by side on one picture, which is somewhat wider than high. A file named "" leaves its place empty.
func makeSheet(path string, files []string) error {
	columns := int(math.Ceil(math.Sqrt(float64(len(files)) * 1.5)))
	lines := (len(files) + columns - 1) / columns
	const step = side + gap
	sheet := image.NewRGBA(image.Rect(0, 0, gap+columns*step, gap+lines*step))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	for i, file := range files {
		corner := image.Pt(gap+i%columns*step, gap+i/columns*step)
		tile, err := readTile(file)
		if err != nil {
			return err
		}
		margin := image.Pt(side, side).Sub(tile.Bounds().Size()).Div(2)
		place := image.Rectangle{Max: tile.Bounds().Size()}.Add(corner).Add(margin)
		draw.Draw(sheet, place, tile, tile.Bounds().Min, draw.Over)
	}
	return writeImage(path, sheet)
}

func readTile(file string) (image.Image, error) {
	if file == "" {
		tile := image.NewRGBA(image.Rect(0, 0, side, side))
		draw.Draw(tile, tile.Bounds(), image.NewUniform(empty), image.Point{}, draw.Src)
		return tile, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tile, _, err := image.Decode(f)
	return tile, err
}
