package app

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestContainsSecret(t *testing.T) {
	const cookie = "ABCDEFGHIJKLMNOP"
	across := strings.Repeat("x", 64<<10-5) + cookie + strings.Repeat("y", 100_000)
	tests := []struct {
		name, secret string
		tree         fstest.MapFS
		want         string
	}{
		{"clean", cookie, fstest.MapFS{"a": file("nothing"), "b/c": file(cookie[1:])}, ""},
		{"in a file", cookie, fstest.MapFS{"a": file("x"), "b/c": file("cookie: " + cookie)}, "b/c"},
		{"is the file", cookie, fstest.MapFS{"a": file(cookie)}, "a"},
		{"across two reads", cookie, fstest.MapFS{"a": file(across)}, "a"},
		{"at the end of a large file", cookie, fstest.MapFS{"a": file(strings.Repeat("z", 300_001) + cookie)}, "a"},
		{"in a name", cookie, fstest.MapFS{"x-" + cookie + "/a": file("")}, "x-[redacted]"},
		{"behind a link", cookie, fstest.MapFS{"a": {Mode: fs.ModeSymlink, Data: []byte("b")}, "b": file("")}, ""},
		{"too short to look for", "demo", fstest.MapFS{"demo": file("demo")}, ""},
		{"none", "", fstest.MapFS{"a": file("")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, found := ContainsSecret(tt.tree, NewSecret(tt.secret))
			if got != tt.want || found != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, found, tt.want)
			}
		})
	}
}
