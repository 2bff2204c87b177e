package main

import (
	"math"
	"slices"
	"time"
)

// quantile is the nearest-rank quantile of values, 0 < q ≤ 1; 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// middle is the median.
func middle(values []float64) float64 { return quantile(values, 0.5) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// medians gives the median of each round.
func medians(rounds [][]float64) []float64 {
	var out []float64
	for _, round := range rounds {
		if len(round) > 0 {
			out = append(out, middle(round))
		}
	}
	return out
}
