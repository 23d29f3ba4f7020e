package main

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// charts writes runs.svg and queue.svg.
func (r *results) charts(dir string) error {
	if err := r.runsChart(filepath.Join(dir, "runs.svg")); err != nil {
		return err
	}
	return r.queueChart(filepath.Join(dir, "queue.svg"))
}

var colours = map[string]color.Color{
	oursPGX:    color.RGBA{R: 0x0b, G: 0x6e, B: 0x99, A: 0xff},
	oursPQFast: color.RGBA{R: 0x5a, G: 0xb4, B: 0xd6, A: 0xff},
	oursPQ:     color.RGBA{R: 0xa6, G: 0xd8, B: 0xe8, A: 0xff},
	groupedPGX: color.RGBA{R: 0x99, G: 0x99, B: 0x99, A: 0xff},
	singlePGX:  color.RGBA{R: 0xcc, G: 0xcc, B: 0xcc, A: 0xff},
	dbosGo:     color.RGBA{R: 0xd9, G: 0x5f, B: 0x02, A: 0xff},
	goWork:     color.RGBA{R: 0x7a, G: 0x5c, B: 0xb5, A: 0xff},
}

func (r *results) runsChart(path string) error {
	p := plot.New()
	p.Title.Text = "Runs of ten steps per second"
	p.X.Label.Text = "runs at a time"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	ticks := make([]plot.Tick, len(r.Concurrent))
	for i, n := range r.Concurrent {
		ticks[i] = plot.Tick{Value: float64(n), Label: thousands(float64(n))}
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(ticks), plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	p.Add(plotter.NewGrid())
	drawn := false
	for _, name := range []string{groupedPGX, oursPGX, oursPQFast, oursPQ, singlePGX, dbosGo, goWork} {
		var line plotter.XYs
		for _, n := range r.Concurrent {
			if all := r.of(cellRuns, name, n, runsPerSecond); len(all) > 0 {
				line = append(line, plotter.XY{X: float64(n), Y: median(all)})
			}
		}
		if len(line) == 0 {
			continue
		}
		curve, points, err := plotter.NewLinePoints(line)
		if err != nil {
			return err
		}
		curve.Color, points.Color, curve.Width = colours[name], colours[name], vg.Points(2)
		p.Add(curve, points)
		p.Legend.Add(name, curve)
		drawn = true
	}
	if !drawn {
		return nil
	}
	p.Y.Max *= 8 // room for the legend
	return p.Save(18*vg.Centimeter, 12*vg.Centimeter, path)
}

func (r *results) queueChart(path string) error {
	var names []string
	var rates plotter.Values
	for _, c := range contestants {
		if all := r.of(cellQueue, c.name, 0, runsPerSecond); len(all) > 0 {
			names, rates = append([]string{c.name}, names...), append(plotter.Values{median(all)}, rates...)
		}
	}
	if len(rates) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "Queued runs of one step per second"
	bars, err := plotter.NewBarChart(rates, vg.Points(18))
	if err != nil {
		return err
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, colours[oursPGX], 0
	p.Add(bars)
	p.NominalY(names...)
	p.X.Min, p.X.Max = 0, p.X.Max*1.05
	return p.Save(18*vg.Centimeter, 8*vg.Centimeter, path)
}
