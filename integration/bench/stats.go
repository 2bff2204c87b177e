package main

import (
	"math"
	"slices"
	"time"
)

// exact is what a product of floats may be beyond the whole number it should be.
const exact = 1e-9

// quantile is the nearest-rank quantile of values, 0 < q ≤ 1; 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))-exact))-1)]
}

// middle is the median: of an even number of values the mean of the two in the
// middle, since there may be as few as two.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// medians gives the median of each round, 0 for one without values.
func medians(rounds [][]float64) []float64 {
	out := make([]float64, len(rounds))
	for i, round := range rounds {
		out[i] = middle(round)
	}
	return out
}

// between10and90 is what is left of the measured values, those above 0, less
// the lowest and the highest tenth, rounded down: of fewer than ten, all.
func between10and90(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(measured(values)))
	if len(sorted) == 0 {
		return 0, 0
	}
	tenth := len(sorted) / 10
	return sorted[tenth], sorted[len(sorted)-1-tenth]
}

func measured(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 })
}

// ratios divides round by round, where both were measured: what the machine
// did otherwise hit both alike.
func ratios(got, than []float64) []float64 {
	var out []float64
	for i := range min(len(got), len(than)) {
		if got[i] > 0 && than[i] > 0 {
			out = append(out, got[i]/than[i])
		}
	}
	return out
}
