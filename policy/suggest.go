package policy

import "strings"

// longestWord bounds the work of a suggestion, whatever a file says. No key
// and no word of a choice is longer.
const longestWord = 40

// didYouMean returns a hint naming the word nearest to the one given, or ""
// when none is near.
func didYouMean(given string, words []string) string {
	if len(given) > longestWord {
		return ""
	}
	best, least := "", 1+len(given)/3
	for _, word := range words {
		if strings.EqualFold(given, word) {
			return "did you mean " + word + "? Upper and lower case count"
		}
		if d := distance(given, word); d <= least {
			best, least = word, d-1
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance counts the characters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment). Neither may be
// longer than longestWord.
func distance(a, b string) int {
	var rows [3][longestWord + 1]int
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
