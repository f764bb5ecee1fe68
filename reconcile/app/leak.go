package app

import (
	"bytes"
	"io"
	"io/fs"
	"strings"
)

// minSecret is the shortest secret looked for: a shorter one occurs in files
// by chance.
const minSecret = 8

// ContainsSecret looks for secret in the name and the bytes of every regular
// file of tree and returns the first that holds it (a path that holds it
// itself comes back without it). Secrets of fewer than
// eight bytes are not looked for; what cannot be read is passed over, because
// who loads it will report it.
func ContainsSecret(tree fs.FS, secret Secret) (path string, found bool) {
	want := secret.Reveal()
	if len(want) < minSecret {
		return "", false
	}
	// A problem with one entry must not end the search of the others.
	_ = fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if strings.Contains(p, want) || d.Type().IsRegular() && fileContains(tree, p, []byte(want)) {
			path, found = strings.ReplaceAll(p, want, redacted), true
			return fs.SkipAll
		}
		return nil
	})
	return path, found
}

// fileContains reads the file in pieces that overlap by one byte less than
// want, so that its size does not matter.
func fileContains(tree fs.FS, path string, want []byte) bool {
	f, err := tree.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	buf := make([]byte, 64<<10+len(want))
	for kept := 0; ; {
		n, err := io.ReadFull(f, buf[kept:])
		n += kept
		if bytes.Contains(buf[:n], want) {
			return true
		}
		if err != nil {
			return false
		}
		kept = copy(buf, buf[n-len(want)+1:n])
	}
}
