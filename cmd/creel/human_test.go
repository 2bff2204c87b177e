package main

import (
	"testing"
	"time"
)

func TestAgesAndSizesReadAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "less than a second", 0: "less than a second", time.Second: "1 second",
		59 * time.Second: "59 seconds", 90 * time.Minute: "1 hour", 47 * time.Hour: "1 day", 30 * 24 * time.Hour: "4 weeks",
	} {
		if got := age(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 3 << 20: "3MiB", 1536 << 20: "1.5GiB", 5 << 50: "5120TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
