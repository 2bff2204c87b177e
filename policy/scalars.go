package policy

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Sizes in bytes.
const (
	kib int64 = 1 << 10
	mib       = kib << 10
	gib       = mib << 10
	tib       = gib << 10
)

// unlimited is the word that takes a limit away, so that a zero, which could
// be meant either way, never does.
const unlimited = "unlimited"

func keep[T ~string](text string) (T, *fault) { return T(text), nil }
func show[T ~string](v T) string              { return string(v) }

// boolean is true or false and no other of YAML's many spellings.
var boolean = scalar[bool]{
	what:    "true or false",
	tags:    booleans,
	pattern: matching(`^(true|false)$`),
	hint:    "write true or false in lower case",
	parse:   func(text string) (bool, *fault) { return text == "true", nil },
	format:  strconv.FormatBool,
	shape:   schema{Type: "boolean"},
}

// onlyTrue is a key that is left out rather than made false.
var onlyTrue = scalar[bool]{
	what:    "true",
	tags:    booleans,
	pattern: matching(`^true$`),
	hint:    "write true, or leave the key out",
	parse:   boolean.parse,
	format:  strconv.FormatBool,
	shape:   schema{Type: "boolean", Const: true},
}

// decimal is how every whole number is written: no sign, no leading zero, no
// underscore, and no base but ten, whatever YAML version a reader has in mind.
var decimal = matching(`^(0|[1-9][0-9]{0,17})$`)

func integer[T int | int64](low, high T) scalar[T] {
	first, last := strconv.FormatInt(int64(low), 10), strconv.FormatInt(int64(high), 10)
	return scalar[T]{
		what:    "a whole number from " + first + " to " + last,
		tags:    numbers,
		pattern: decimal,
		hint:    "write it in plain decimal digits",
		parse: func(text string) (T, *fault) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < int64(low) || n > int64(high) {
				return 0, faultf("choose a number from "+first+" to "+last, "%s is out of range", text)
			}
			return T(n), nil
		},
		format: func(n T) string { return strconv.FormatInt(int64(n), 10) },
		shape:  schema{Type: "integer", Minimum: json.Number(first), Maximum: json.Number(last)},
	}
}

var (
	sizeText  = matching(`^(0|[1-9][0-9]{0,17}|[1-9][0-9]{0,11}(KiB|MiB|GiB|TiB))$`)
	sizeUnits = []struct {
		suffix string
		bytes  int64
	}{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}}
)

// size is a number of bytes, plain or with a binary unit. Decimal units are
// refused: people who write MB mean either of two numbers.
func size(low, high int64) scalar[int64] {
	bounds := "choose a size from " + formatSize(low) + " to " + formatSize(high)
	return scalar[int64]{
		what:    "a size such as 64KiB, 512MiB or 2GiB",
		tags:    sizes,
		pattern: sizeText,
		hint:    "write a whole number of bytes, or one with KiB, MiB, GiB or TiB directly behind it",
		parse: func(text string) (int64, *fault) {
			n, ok := parseSize(text)
			if !ok || n < low || n > high {
				return 0, faultf(bounds, "%s is out of range", text)
			}
			return n, nil
		},
		format: formatSize,
		shape: schema{AnyOf: []*schema{
			{Type: "string", Pattern: sizeText.String()},
			{Type: "integer", Minimum: json.Number(strconv.FormatInt(low, 10)), Maximum: json.Number(strconv.FormatInt(high, 10))},
		}},
	}
}

func parseSize(text string) (n int64, ok bool) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if digits, found := strings.CutSuffix(text, u.suffix); found {
			text, unit = digits, u.bytes
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n * unit, err == nil && n <= (1<<62)/unit
}

func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

var durationText = matching(`^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$`)

// duration is a time with a unit, in whole milliseconds.
func duration(low, high time.Duration) scalar[time.Duration] {
	bounds := "choose a time from " + formatDuration(low) + " to " + formatDuration(high)
	return scalar[time.Duration]{
		what:    "a duration such as 90s, 5m or 1h30m",
		pattern: durationText,
		hint:    "write whole numbers with the units h, m, s and ms, largest first",
		parse: func(text string) (time.Duration, *fault) {
			t, err := time.ParseDuration(text)
			if text == "" {
				return 0, faultf(bounds, "the duration is empty")
			}
			if err != nil || t < low || t > high {
				return 0, faultf(bounds, "%s is out of range", quote(text))
			}
			return t, nil
		},
		format: formatDuration,
		shape:  schema{MinLength: 2},
	}
}

// formatDuration leaves out the units that are zero: 5m, not 5m0s.
func formatDuration(t time.Duration) string {
	text := ""
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := t / u.unit; n > 0 {
			text += strconv.FormatInt(int64(n), 10) + u.name
			t -= n * u.unit
		}
	}
	return text
}

// limit lets a scalar be unlimited, which is its zero.
func limit[T int64 | time.Duration](s scalar[T]) scalar[T] {
	inner := s
	s.what += ", or unlimited"
	s.pattern = matching(`^(unlimited|` + strings.Trim(inner.pattern.String(), "^$") + `)$`)
	s.parse = func(text string) (T, *fault) {
		if text == unlimited {
			return 0, nil
		}
		v, f := inner.parse(text)
		if f != nil {
			f.hint += ", or write " + unlimited
		}
		return v, f
	}
	s.format = func(v T) string {
		if v == 0 {
			return unlimited
		}
		return inner.format(v)
	}
	if s.shape.AnyOf != nil {
		s.shape.AnyOf = append([]*schema{{Type: "string", Const: unlimited}}, s.shape.AnyOf...)
	}
	return s
}

// cpus is a number of processors with up to three decimals, kept in
// thousandths so that no rounding happens on the way to the kernel.
var cpus = scalar[int64]{
	what:    "a number of processors such as 1 or 1.5",
	tags:    numbers,
	pattern: matching(`^(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?$`),
	hint:    "write a decimal number with at most three digits behind the point",
	parse: func(text string) (int64, *fault) {
		whole, part, _ := strings.Cut(text, ".")
		n, err := strconv.ParseInt(whole+(part + "000")[:3], 10, 64)
		if err != nil || n < 10 || n > 1024_000 {
			return 0, faultf("choose a number from 0.01 to 1024", "%s is out of range", text)
		}
		return n, nil
	},
	format: func(n int64) string {
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64)
	},
	shape: schema{Type: "number", Minimum: "0.01", Maximum: "1024"},
}

// date is a calendar day, midnight UTC.
var date = scalar[time.Time]{
	what:    "a day such as 2027-02-01",
	tags:    dates,
	pattern: matching(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`),
	hint:    "write it as YEAR-MONTH-DAY with four, two and two digits",
	parse: func(text string) (time.Time, *fault) {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return time.Time{}, faultf("check the month and the day", "%s is not in the calendar", text)
		}
		if day.Year() < 2000 {
			return time.Time{}, faultf("check the year", "%s is too long ago to be meant", text)
		}
		return day, nil
	},
	format: func(day time.Time) string { return day.Format(time.DateOnly) },
}

// prose is text for people, without the blanks around it.
func prose(what string, longest int) scalar[string] {
	return scalar[string]{
		what: what,
		parse: func(text string) (string, *fault) {
			text = strings.TrimSpace(text)
			switch n := utf8.RuneCountInString(text); {
			case n == 0:
				return "", faultf("write "+what, "the text is empty")
			case n > longest:
				return "", faultf("shorten it", "the text has %d characters, more than the %d allowed", n, longest)
			}
			return text, nil
		},
		format: show[string],
		shape:  schema{MinLength: 1},
	}
}
