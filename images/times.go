package images

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// times are the change times of files and folders. Package managers replace
// files by renaming, which changes the folder: for folders that are taken
// whole, looking at them is enough and looks at few.
type times map[string]time.Time

// few is how many files of one folder are looked at one by one.
const few = 100

// add notes where the tree's files come from.
func (ts times) add(t tree) error {
	byDir := map[string][]string{}
	for _, n := range t {
		if n.from != "" {
			byDir[filepath.Dir(n.from)] = append(byDir[filepath.Dir(n.from)], n.from)
		}
	}
	for dir, files := range byDir {
		// A folder such as /usr/bin changes often and says little.
		look := []string{dir}
		if len(files) < few {
			look = files
		}
		for _, p := range look {
			info, err := os.Stat(p)
			if err != nil {
				return fmt.Errorf("read the age of %s: %w", p, err)
			}
			ts[p] = info.ModTime()
		}
	}
	return nil
}

// same reports whether nothing changed since.
func (ts times) same() bool {
	for p, then := range ts {
		info, err := os.Stat(p)
		if err != nil || !info.ModTime().Equal(then) {
			return false
		}
	}
	return true
}
