package main

import (
	"fmt"
	"time"
)

// ages are the units that people count time in, largest first.
var ages = []struct {
	unit string
	size time.Duration
}{
	{"week", 7 * 24 * time.Hour},
	{"day", 24 * time.Hour},
	{"hour", time.Hour},
	{"minute", time.Minute},
	{"second", time.Second},
}

// age is a duration in the largest unit of which there is at least one.
func age(d time.Duration) string {
	for _, a := range ages {
		if n := d / a.size; n == 1 {
			return "1 " + a.unit
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, a.unit)
		}
	}
	return "less than a second"
}

// size is a number of bytes in the largest binary unit of which there is at
// least one, as docker stats shows it.
func size(bytes int64) string {
	value, unit := float64(bytes), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	return fmt.Sprintf("%.4g%s", value, unit)
}

// shortened cuts s to at most n characters.
func shortened(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// shortID is enough of an ID to name a sandbox by.
func shortID(id string) string { return id[:min(len(id), 12)] }
