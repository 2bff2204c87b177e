package main

import (
	"slices"
	"testing"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64((i*37)%100+1)) // 1 to 100, mixed
	}
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{hundred, 0.5, 50}, {hundred, 0.9, 90}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0.001, 1},
		{[]float64{7}, 0.01, 7}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %g of %d values: %g, want %g", c.q, len(c.values), got, c.want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing: %g", got)
	}
	if hundred[0] != 1 || hundred[1] != 38 {
		t.Error("the values were put in order for the caller, too")
	}
}

// A float a little above the whole number that it should be is no rank more.
func TestQuantileIsExactForEveryCount(t *testing.T) {
	values := []float64{}
	for n := 1; n <= 2000; n++ {
		values = append(values, float64(n))
		for _, percent := range []int{10, 50, 90, 99} {
			if got, want := quantile(values, float64(percent)/100), float64((n*percent+99)/100); got != want {
				t.Fatalf("%d %% of %d: %g, want %g", percent, n, got, want)
			}
		}
	}
}

func TestMiddleIsTheMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{1, 2}, 1.5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := middle(c.values); got != c.want {
			t.Errorf("middle of %v: %g, want %g", c.values, got, c.want)
		}
	}
}

func TestMediansKeepThePlacesOfEmptyRounds(t *testing.T) {
	if got := medians([][]float64{{1, 2, 3}, nil, {9}}); !slices.Equal(got, []float64{2, 0, 9}) {
		t.Errorf("medians %v", got)
	}
}

func TestSpreadLosesAsMuchAtBothEnds(t *testing.T) {
	for _, c := range []struct{ n, low, high int }{{1, 1, 1}, {2, 1, 2}, {9, 1, 9}, {10, 2, 9}, {20, 3, 18}} {
		values := []float64{0} // not measured
		for i := range c.n {
			values = append(values, float64(c.n-i))
		}
		if low, high := between10and90(values); low != float64(c.low) || high != float64(c.high) {
			t.Errorf("of 1 to %d: %g to %g, want %d to %d", c.n, low, high, c.low, c.high)
		}
	}
	if low, high := between10and90(nil); low != 0 || high != 0 {
		t.Errorf("of nothing: %g to %g", low, high)
	}
}

func TestRatiosAreOfTheSameRounds(t *testing.T) {
	got := ratios([]float64{2, 0, 9, 4}, []float64{1, 5, 3, 0, 7})
	if !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("ratios %v", got)
	}
}
