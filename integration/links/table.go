package links

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Table shows figures beside those of the first way.
func Table(all map[Way]Figures, sizes []int, ways ...Way) string {
	var out strings.Builder
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "link\trtt p50\tp99 us\tcpu us")
	for _, size := range sizes {
		fmt.Fprintf(t, "\t%d B from guest MB/s\tcpu us\tto guest\tcpu us", size)
	}
	fmt.Fprintln(t, "\t")
	base := all[ways[0]]
	for _, way := range ways {
		f := all[way]
		fmt.Fprintf(t, "%s\t%.0f %.2fx\t%.0f\t%.0f", way, f.P50, f.P50/base.P50, f.P99, f.CPU)
		for _, size := range sizes {
			from, to := f.From[size], f.To[size]
			fmt.Fprintf(t, "\t%.0f %.2fx\t%.1f\t%.0f %.2fx\t%.1f",
				from.MB, from.MB/base.From[size].MB, from.CPU, to.MB, to.MB/base.To[size].MB, to.CPU)
		}
		fmt.Fprintln(t, "\t")
	}
	t.Flush()
	return out.String()
}
