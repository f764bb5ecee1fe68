package app

// Nearest returns the word of known that looks most like word, "" when none
// comes close: more than half of the letters would have to change. Ties go to
// the earlier one.
func Nearest(word string, known []string) string {
	best, least := "", max(len([]rune(word))/2, 1)+1
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
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
