package app

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"memory_limit", "scheduler_limit", "node_prefix", "git", "hex"}
	tests := []struct{ word, want string }{
		{"memory_limt", "memory_limit"},
		{"scheduler", "scheduler_limit"},
		{"prefix", "node_prefix"},
		{"gti", "git"},
		{"git", "git"},
		{"hx", "hex"},
		{"x", ""},
		{"", ""},
		{"completely_else", ""},
	}
	for _, tt := range tests {
		if got := Nearest(tt.word, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"é", "e", 1}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
