package app

import (
	"slices"
	"strings"
)

// Nearest returns the word of known that looks most like word; when more than
// half of the letters, and more than two, would have to change, the first one
// that has word as a part; else "". Ties go to the earlier one.
func Nearest(word string, known []string) string {
	letters := len([]rune(word))
	best, least := "", min(max(letters/2, 2)+1, letters)
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" && letters > 2 {
		if i := slices.IndexFunc(known, func(k string) bool { return strings.Contains(k, word) }); i >= 0 {
			return known[i]
		}
	}
	return best
}

// distance counts the insertions, removals and replacements of letters that
// turn a into b (Levenshtein).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range s {
		diagonal := row[0]
		row[0] = i + 1
		for j, c := range t {
			change := diagonal
			if r != c {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(t)]
}
