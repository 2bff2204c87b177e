package redact

import (
	"bytes"
	stdbase64 "encoding/base64"
	stdhex "encoding/hex"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// reference says what redaction means, the slow way: every reading of the
// whole text, every occurrence of every value in each.
func reference(text string, values []string) string {
	return replace(text, occurrences(text, values))
}

// occurrences are those of all values, in each reading.
func occurrences(text string, values []string) (all []occurrence) {
	for i, value := range values {
		value = strings.TrimRight(value, "\r")
		value = lineEnds.ReplaceAllString(value, "\n")
		plain := escapesOf(text, `\x00`)
		all = append(all, plain.find(value, i)...)
		for _, line := range countedLines(value) {
			all = append(all, plain.find(line, i)...)
		}
		all = append(all, escapesOf(text, backslashes).find(value, i)...)
		all = append(all, escapesOf(text, percents).find(value, i)...)
		if strings.Contains(strings.Join(values, ""), "'") {
			all = append(all, escapesOf(text, quotes).find(value, i)...)
		}
		if strings.Contains(strings.Join(values, ""), " ") {
			all = append(all, escapesOf(text, percents+`|\+`).find(value, i)...)
		}
		all = append(all, digitsOf(text, "0-9A-Fa-f", 2, fromHex).find(value, i)...)
		all = append(all, digitsOf(text, "-A-Za-z0-9+/_", 4, fromBase64).find(value, i)...)
	}
	return all
}

// occurrence is where a value, of a number, is in the text.
type occurrence struct{ start, end, value int }

// replace puts a mark in place of occurrences that overlap.
func replace(text string, all []occurrence) string {
	var out strings.Builder
	done := 0
	for _, o := range merged(all) {
		out.WriteString(text[done:o.start] + o.mark())
		done = o.end
	}
	return out.String() + text[done:]
}

func (o occurrence) mark() string { return "[redacted:" + string(rune('A'+o.value)) + "]" }

// merged are occurrences that do not overlap, in order: those that do are one,
// which is called after the leftmost and longest.
func merged(all []occurrence) (apart []occurrence) {
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.start != b.start {
			return a.start < b.start
		}
		if a.end != b.end {
			return a.end > b.end
		}
		return a.value < b.value
	})
	for _, o := range all {
		last := len(apart) - 1
		if last >= 0 && o.start < apart[last].end {
			apart[last].end = max(apart[last].end, o.end)
		} else {
			apart = append(apart, o)
		}
	}
	return apart
}

// decoded is a text made from another, with where each byte comes from. The
// byte at NUL stands for what no value holds.
type decoded struct {
	text   []byte
	places [][2]int
}

func (r *decoded) add(text string, start, end int) {
	for i := range len(text) {
		r.text = append(r.text, text[i])
		r.places = append(r.places, [2]int{start, end})
	}
}

func (r *decoded) find(value string, number int) (all []occurrence) {
	if strings.ContainsAny(value, "\r\n") {
		r = r.unixLines()
	}
	for from := 0; ; {
		next := bytes.Index(r.text[from:], []byte(value))
		if next < 0 {
			return all
		}
		at := from + next
		all = append(all, occurrence{r.places[at][0], r.places[at+len(value)-1][1], number})
		from = at + 1
	}
}

var lineEnds = regexp.MustCompile(`\r{1,2}\n`)

// unixLines is the same with bare newlines.
func (r *decoded) unixLines() *decoded {
	unix := &decoded{}
	last := 0
	for _, end := range lineEnds.FindAllIndex(r.text, -1) {
		unix.text = append(append(unix.text, r.text[last:end[0]]...), '\n')
		unix.places = append(append(unix.places, r.places[last:end[0]]...), [2]int{r.places[end[0]][0], r.places[end[1]-1][1]})
		last = end[1]
	}
	unix.text = append(unix.text, r.text[last:]...)
	unix.places = append(unix.places, r.places[last:]...)
	return unix
}

// backslashes are the escapes of JSON, C, Python and shells.
const backslashes = `\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[0-9A-Fa-f]{4}|\\u[0-9A-Fa-f]{4}|\\U00(?:0[1-9A-Fa-f]|10)[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|` +
	`\\[0-7]{1,3}|\\[abtnvfreE]|\\[^0-9A-Za-z\x80-\xff]|` + quotes

const percents = `%[0-9A-Fa-f]{2}`

// quotes are a single quote, or some, within single quotes.
const quotes = `'\\''|'"'{1,8}"'`

// tokens are what the escaped readings read, at the beginning of a text of
// which each byte has been made a character.
var tokens = map[string]*regexp.Regexp{}

func init() {
	for _, pattern := range []string{`\x00`, quotes, backslashes, percents, percents + `|\+`} {
		tokens[pattern] = regexp.MustCompile(`^(?s:` + pattern + `)`)
	}
}

// escapesOf reads the escapes that a pattern names.
func escapesOf(text, pattern string) *decoded {
	r := &decoded{}
	var wide strings.Builder
	var places []int // of each byte in wide
	for i := range len(text) {
		places = append(places, wide.Len())
		wide.WriteRune(rune(text[i]))
	}
	places = append(places, wide.Len())
	characters := wide.String()
	for at := 0; at < len(text); {
		size := 0
		if strings.IndexByte("\\'%+", text[at]) >= 0 {
			token := tokens[pattern].FindString(characters[places[at]:places[min(len(text), at+12)]])
			size = len([]rune(token))
		}
		if size == 0 || beyondAByte.MatchString(text[at:at+size]) {
			r.add(text[at:at+1], at, at+1)
			at++
			continue
		}
		meaning, taken := meaningOf(text[at : at+size])
		r.add(meaning, at, at+taken)
		at += taken
	}
	return r
}

// beyondAByte is an octal number that is too large.
var beyondAByte = regexp.MustCompile(`^\\[4-7][0-7]{2}$`)

// meaningOf is what an escape stands for, and how much of it that takes.
func meaningOf(token string) (meaning string, taken int) {
	taken = len(token)
	code := func(digits string, base int) {
		value, _ := strconv.ParseUint(digits, base, 32)
		meaning = string([]byte{byte(value)})
	}
	switch {
	case token == "+":
		return " ", 1
	case token[0] == '%':
		code(token[1:], 16)
	case token[0] == '\'' && token[1] == '\\':
		return "'", taken
	case token[0] == '\'':
		return strings.Trim(token[1:taken-1], `"`), taken
	case token[1] == 'u':
		return utf16Meaning(token)
	case token[1] == 'U':
		value, _ := strconv.ParseUint(token[2:], 16, 32)
		return string(rune(value)), taken
	case token[1] == 'x':
		code(token[2:], 16)
	case token[1] >= '0' && token[1] <= '7':
		code(token[1:], 8)
	default:
		if at := strings.IndexByte("abtnvfreE", token[1]); at >= 0 {
			return "\a\b\t\n\v\f\r\x1b\x1b"[at : at+1], taken
		}
		return token[1:], taken
	}
	if alphanumeric(meaning[0]) {
		return "\x00", taken
	}
	return meaning, taken
}

// utf16Meaning reads one \uXXXX or two.
func utf16Meaning(token string) (string, int) {
	first, _ := strconv.ParseUint(token[2:6], 16, 32)
	switch {
	case first < 0x80:
		if alphanumeric(byte(first)) {
			return "\x00", 6
		}
		return string(rune(first)), 6
	case first >= 0xdc80 && first <= 0xdcff:
		return string([]byte{byte(first)}), 6
	case !utf16.IsSurrogate(rune(first)):
		return string(rune(first)), 6
	case len(token) == 12:
		second, _ := strconv.ParseUint(token[8:], 16, 32)
		if r := utf16.DecodeRune(rune(first), rune(second)); r != 0xfffd {
			return string(r), 12
		}
	}
	return "\x00", 6
}

// countedLines are the lines that count as values.
func countedLines(value string) (lines []string) {
	for _, line := range regexp.MustCompile(`\n|\\n`).Split(value, -1) {
		line = strings.TrimSpace(line)
		if line == value {
			continue
		}
		kinds := map[byte]bool{}
		for i := range len(line) {
			kinds[line[i]] = true
		}
		if len(line) >= 16 && len(kinds) >= 8 && !regexp.MustCompile(`^-----(BEGIN|END) `).MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// several are the readings that begin at each of a group of digits.
type several []*decoded

func (s several) find(value string, number int) (all []occurrence) {
	for _, r := range s {
		all = append(all, r.find(value, number)...)
	}
	return all
}

// digitsOf reads runs of digits, broken at the ends of long lines, from each
// place in a group.
func digitsOf(text, class string, group int, decode func(string) string) (all several) {
	run := regexp.MustCompile(`[` + class + `]+`)
	indent := regexp.MustCompile(`^[ \t]{0,16}`)
	gap := regexp.MustCompile(`^\r?\n[ \t]{0,16}$`)
	for phase := range group {
		r := &decoded{}
		digits, places := []byte(nil), []int(nil)
		flush := func() {
			for at := phase; at+1 < len(digits)+group; at += group {
				readGroup(r, digits, places, at, group, decode)
			}
			r.add("\x00", 0, 0)
			digits, places = nil, nil
		}
		last := 0
		for _, found := range run.FindAllStringIndex(text, -1) {
			between := text[last:found[0]]
			line := text[strings.LastIndexByte(text[:last], '\n')+1 : last]
			width := len(line) - len(indent.FindString(line))
			if !gap.MatchString(between) || width < minWidth {
				flush()
			}
			for i := found[0]; i < found[1]; i++ {
				digits = append(digits, text[i])
				places = append(places, i)
			}
			last = found[1]
		}
		flush()
		all = append(all, r)
	}
	return all
}

// readGroup reads the group of digits at at, which may begin before the first
// digit or end after the last.
func readGroup(r *decoded, digits []byte, places []int, at, group int, decode func(string) string) {
	at -= group
	if at+group <= 0 {
		return
	}
	var known [4]bool
	padded := ""
	for i := range group {
		known[i] = at+i >= 0 && at+i < len(digits)
		if known[i] {
			padded += string(digits[at+i])
		} else {
			padded += "0"
		}
	}
	plain := decode(padded)
	if group == 2 {
		if known[0] && known[1] {
			r.add(plain, places[at], places[at+1]+1)
		}
		return
	}
	for i := range 3 {
		switch {
		case !known[i] || !known[i+1]:
			r.add("\x00", 0, 0)
		case i > 0: // the digit before has 4 or 2 bits of it only
			r.add(plain[i:i+1], places[at+i+1], places[at+i+1]+1)
		default:
			r.add(plain[i:i+1], places[at+i], places[at+i+1]+1)
		}
	}
}

func fromHex(pair string) string {
	decoded, _ := stdhex.DecodeString(pair)
	return string(decoded)
}

func fromBase64(group string) string {
	decoded, _ := stdbase64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(group))
	return string(decoded)
}
