package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLeft, plotTop, plotWidth, rowHeight = 250, 54, 520, 22
	plotRight                               = 110
)

// plot draws the latencies of one caller on a logarithmic axis: a dot at p50,
// a line to p99.
func (r *Report) plot() string {
	var rows []LatencyRow
	for _, row := range r.Latency {
		if row.Callers == 1 && row.N > 0 {
			rows = append(rows, row)
		}
	}
	low, high := decades(rows)
	x := func(ms float64) float64 {
		return plotLeft + plotWidth*(math.Log10(ms)-low)/(high-low)
	}
	bottom := plotTop + rowHeight*len(rows)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		plotLeft+plotWidth+plotRight, bottom+34)
	out.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	fmt.Fprintf(&out, `<text x="12" y="20" font-size="14" font-weight="bold">One command, one caller: p50 (dot) to p99 (line)</text>`+"\n")
	fmt.Fprintf(&out, `<text x="12" y="38" fill="#555">%s, %s, %d cores, Linux %s</text>`+"\n",
		r.Date.Format("2006-01-02"), html.EscapeString(r.Machine.Processor), r.Machine.Cores, r.Machine.Kernel)
	for decade := low; decade <= high; decade++ {
		at := x(math.Pow(10, decade))
		fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", at, plotTop-6, at, bottom)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%g ms</text>`+"\n", at, bottom+18, math.Pow(10, decade))
	}
	for i, row := range rows {
		y := plotTop + rowHeight*i + rowHeight/2
		colour := "#888"
		if strings.HasPrefix(row.Contender, "creel") {
			colour = "#0b6"
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-10, y+4, html.EscapeString(row.Contender))
		fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="3"/>`+"\n", x(row.P50), y, x(row.P99), y, colour)
		fmt.Fprintf(&out, `<circle cx="%.1f" cy="%d" r="5" fill="%s"/>`+"\n", x(row.P50), y, colour)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" fill="#555">%s / %s</text>`+"\n", x(row.P99)+9, y+4, short(row.P50), short(row.P99))
	}
	out.WriteString("</svg>\n")
	return out.String()
}

// decades are the powers of ten around all values.
func decades(rows []LatencyRow) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, row := range rows {
		low, high = min(low, math.Floor(math.Log10(row.P50))), max(high, math.Ceil(math.Log10(row.P99)))
	}
	if len(rows) == 0 {
		return 0, 1
	}
	return low, max(high, low+1)
}
