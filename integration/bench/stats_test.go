package main

import "testing"

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

func TestMediansLeaveOutEmptyRounds(t *testing.T) {
	got := medians([][]float64{{1, 2, 3}, nil, {9}})
	if len(got) != 2 || got[0] != 2 || got[1] != 9 {
		t.Errorf("medians %v", got)
	}
}
