// Command charts draws the benchmarks' figures as SVG, for README.md and docs: it reads the JSON that `make bench`
// writes beside them.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// report is what a benchmark found.
type report struct {
	Rows []struct {
		Row    string  `json:"row"`
		N      float64 `json:"n"`
		Values []struct {
			What  string  `json:"what"`
			Value float64 `json:"value"`
		} `json:"values"`
	} `json:"rows"`
}

// chart is a picture of some values over the number of twins.
type chart struct {
	file, title, unit string
	// row is the benchmark's; log tells that both axes are logarithmic.
	row   string
	log   bool
	lines []line
}

// line is a value, by a pattern of its name. A pattern with a group finds the number of twins there; without one it is
// the benchmark's.
type line struct{ label, pattern string }

func charts() []chart {
	return []chart{
		{"converge", "Until new DeviceTwins are all Ready", "seconds", "converge", true, []line{
			{"operator", `^until all are Ready`}, {"bare loop of the same four calls", `^floor: GET`}, {"bare loop of two calls", `^two-call floor`},
		}},
		{"idle", "Messages billed in three minutes in which nothing changes", "messages", "idle", true, []line{
			{"operator", `^messages billed$`}, {"poller of each twin, every 10 s", `^poller's messages billed`},
		}},
		{"memory", "The manager's memory", "MB", "memory", false, []line{
			{"resident", `^RSS with (\d+) twins`}, {"live heap", `^live heap with (\d+) twins`},
		}},
	}
}

func main() {
	dir := flag.String("dir", "docs/benchmarks", "folder with the reports")
	out := flag.String("out", "docs/benchmarks", "folder for the pictures")
	flag.Parse()
	if err := run(*dir, *out); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

func run(dir, out string) error {
	var reports []report
	for _, name := range []string{"operator.json", "operator-100k.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		reports = append(reports, r)
	}
	for _, chart := range charts() {
		if err := chart.draw(reports, filepath.Join(out, chart.file+".svg")); err != nil {
			return fmt.Errorf("%s: %w", chart.file, err)
		}
	}
	return nil
}

// points are a line's, by rising number of twins; of two measurements with as many the first counts.
func (c chart) points(reports []report, l line) (plotter.XYs, error) {
	pattern := regexp.MustCompile(l.pattern)
	var found plotter.XYs
	for _, r := range reports {
		for _, row := range r.Rows {
			if row.Row != c.row {
				continue
			}
			for _, value := range row.Values {
				match := pattern.FindStringSubmatch(value.What)
				if match == nil {
					continue
				}
				n := row.N
				if len(match) > 1 {
					var err error
					if n, err = strconv.ParseFloat(match[1], 64); err != nil {
						return nil, err
					}
				}
				if !slices.ContainsFunc(found, func(p plotter.XY) bool { return p.X == n }) {
					found = append(found, plotter.XY{X: n, Y: value.Value})
				}
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no report has a value for " + l.label)
	}
	slices.SortFunc(found, func(a, b plotter.XY) int { return int(a.X - b.X) })
	return found, nil
}

func (c chart) draw(reports []report, file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, "DeviceTwins", c.unit
	p.Title.Padding = vg.Points(8)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(3)
	p.Add(plotter.NewGrid())
	colors := []color.Color{color.RGBA{R: 0, G: 90, B: 181, A: 255}, color.RGBA{R: 220, G: 50, B: 32, A: 255}, color.RGBA{R: 120, G: 120, B: 120, A: 255}}
	for i, l := range c.lines {
		points, err := c.points(reports, l)
		if err != nil {
			return err
		}
		drawn, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Width = colors[i], vg.Points(1.8)
		marks.Color, marks.Shape, marks.Radius = colors[i], draw.CircleGlyph{}, vg.Points(3)
		p.Add(drawn, marks)
		p.Legend.Add(l.label, drawn, marks)
		for _, point := range points {
			p.Y.Max = max(p.Y.Max, point.Y)
		}
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = counts{plot.DefaultTicks{}}, counts{plot.DefaultTicks{}}
	if c.log {
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = counts{plot.LogTicks{Prec: -1}}, counts{plot.LogTicks{Prec: -1}}
		p.X.Min, p.X.Max = 5_000, 200_000
		p.Y.Min, p.Y.Max = 10, p.Y.Max*20 // room for the legend
	} else {
		p.X.Min, p.X.Max = 0, p.X.Max*1.05
		p.Y.Min = 0
	}
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

// counts writes the numbers of an axis in full, with thousands apart.
type counts struct{ plot.Ticker }

func (c counts) Ticks(low, high float64) []plot.Tick {
	ticks := c.Ticker.Ticks(low, high)
	for i, tick := range ticks {
		if tick.Label == "" {
			continue
		}
		digits := strconv.FormatFloat(tick.Value, 'f', -1, 64)
		for at := len(digits) - 3; at > 0; at -= 3 {
			digits = digits[:at] + "," + digits[at:]
		}
		ticks[i].Label = digits
	}
	return ticks
}
