//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// figure is one measured value of build/bench.json, with what it is compared
// to where there is something.
type figure struct {
	Name      string   `json:"name"`
	Value     float64  `json:"value"`
	Unit      string   `json:"unit"`
	Peer      string   `json:"peer"`
	PeerValue *float64 `json:"peer_value"`
	Ratio     *float64 `json:"ratio"`

	goal string // for people: "< 500"
	met  bool
}

// figures are those of one run, in the order they were measured.
type figures []*figure

// add keeps a value, rounded to three digits after the point.
func (f *figures) add(name string, value float64, unit string) *figure {
	one := &figure{Name: name, Value: rounded(value), Unit: unit}
	*f = append(*f, one)
	return one
}

func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

// beside compares to another value of the same unit.
func (f *figure) beside(peer string, value float64) *figure {
	value, ratio := rounded(value), rounded(f.Value/value)
	f.Peer, f.PeerValue, f.Ratio = peer, &value, &ratio
	return f
}

// below sets goals: of the value and, unless zero, of the ratio.
func (f *figure) below(value, ratio float64) {
	f.goal, f.met = fmt.Sprintf("< %g", value), f.Value < value
	if ratio != 0 {
		f.goal += fmt.Sprintf(", < %gx", ratio)
		f.met = f.met && *f.Ratio < ratio
	}
}

// within and atLeast set a goal of the ratio alone.
func (f *figure) within(ratio float64) {
	f.goal, f.met = fmt.Sprintf("<= %gx", ratio), *f.Ratio <= ratio
}

func (f *figure) atLeast(ratio float64) {
	f.goal, f.met = fmt.Sprintf(">= %gx", ratio), *f.Ratio >= ratio
}

// print writes a table.
func (f figures) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tUNIT\tPEER\tRATIO\tGOAL\t")
	for _, one := range f {
		peer, ratio, goal := "-", "-", "-"
		if one.Ratio != nil {
			peer, ratio = fmt.Sprintf("%.4g  %s", *one.PeerValue, one.Peer), fmt.Sprintf("%.2f", *one.Ratio)
		}
		if one.goal != "" {
			goal = one.goal + map[bool]string{true: "  met", false: "  MISSED"}[one.met]
		}
		fmt.Fprintf(t, "%s\t%.4g\t%s\t%s\t%s\t%s\t\n", one.Name, one.Value, one.Unit, peer, ratio, goal)
	}
	return t.Flush()
}

// save writes the figures as JSON.
func (f figures) save(path string) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// percentile is the smallest sample that p percent of all do not exceed, in
// milliseconds.
func percentile(all []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := (len(sorted)*p + 99) / 100
	return float64(sorted[max(n, 1)-1]) / float64(time.Millisecond)
}
