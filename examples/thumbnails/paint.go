package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// paintCommand paints landscapes into a folder, whose name says of what kind. Those in photos were made by it, too.
func paintCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("paint", flag.ContinueOnError)
	n := flags.Int("n", 1, "how many pictures")
	width := flags.Int("width", 800, "how wide they are, in pixels")
	ending := flags.String("as", "jpg", "jpg or png")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || *n < 0 || *width < 8 {
		return errors.New(usage)
	}
	folder := flags.Arg(0)
	kind, known := landscapes[filepath.Base(folder)]
	if !known {
		kind = landscapes["alps"]
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i := range *n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(filepath.Base(folder))))) // the same pictures each time
			file := filepath.Join(folder, fmt.Sprintf("painted-%03d.%s", i+1, *ending))
			return writeImage(file, kind.paint(random, *width, *width*3/4))
		})
	}
	return group.Wait()
}

// A landscape is a kind of picture: a sky, and ridges before it.
type landscape struct {
	zenith, horizon color.RGBA
	far, near       color.RGBA // ridges
	high            float64    // how high the farthest ridge is, of the picture's height
	steep           bool
}

var landscapes = map[string]landscape{
	"alps": {
		zenith: rgb(58, 110, 180), horizon: rgb(222, 232, 240), far: rgb(150, 165, 190), near: rgb(38, 66, 52), high: 0.30, steep: true,
	},
	"coast": {
		zenith: rgb(240, 150, 90), horizon: rgb(255, 226, 170), far: rgb(120, 110, 150), near: rgb(20, 60, 95), high: 0.05,
	},
	"desert": {
		zenith: rgb(110, 160, 205), horizon: rgb(250, 225, 185), far: rgb(225, 170, 110), near: rgb(165, 90, 45), high: 0.14,
	},
}

func rgb(r, g, b uint8) color.RGBA { return color.RGBA{R: r, G: g, B: b, A: 255} }

const ridges = 5

func (l landscape) paint(random *rand.Rand, width, height int) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	sunX, sunY, sun := random.Float64(), 0.15+0.2*random.Float64(), 0.04+0.03*random.Float64()
	var tops [ridges][]float64 // from far to near, of each column
	for i := range tops {
		depth := float64(i) / (ridges - 1)
		tops[i] = l.ridge(random, width, 0.5+0.4*depth, l.high*(1-0.7*depth))
	}
	for y := range height {
		v := float64(y) / float64(height)
		sky := mix(l.zenith, l.horizon, v/0.6)
		for x := range width {
			pixel := sky
			u := float64(x) / float64(width)
			if far := math.Hypot(u-sunX, (v-sunY)*0.75); far < 3*sun {
				pixel = mix(rgb(255, 250, 225), sky, (far-sun)/(2*sun))
			}
			for i := ridges - 1; i >= 0; i-- { // the nearest one hides what is behind it
				if below := v - tops[i][x]; below >= 0 {
					pixel = mix(mix(l.far, l.near, float64(i)/(ridges-1)), l.horizon, 0.5-2*below)
					break
				}
			}
			picture.SetRGBA(x, y, pixel)
		}
	}
	return picture
}

// ridge returns where the ground begins, of the picture's height, in each column.
func (l landscape) ridge(random *rand.Rand, width int, base, high float64) []float64 {
	top := make([]float64, width)
	for wave := 1.0; wave < 40; wave *= 2.1 {
		shift := random.Float64() * 2 * math.Pi
		for x := range top {
			s := math.Sin(shift + wave*math.Pi*float64(x)/float64(width))
			if l.steep {
				s = 1 - 2*math.Abs(s)
			}
			top[x] += s * high / wave
		}
	}
	for x := range top {
		top[x] = base - top[x]
	}
	return top
}

// mix returns from at 0, to at 1, and what is between them in between.
func mix(from, to color.RGBA, share float64) color.RGBA {
	share = min(max(share, 0), 1)
	part := func(a, b uint8) uint8 { return uint8(float64(a) + share*(float64(b)-float64(a))) }
	return rgb(part(from.R, to.R), part(from.G, to.G), part(from.B, to.B))
}
