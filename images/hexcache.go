package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxHexCache bounds the kept tarballs of packages, in bytes.
const maxHexCache = 1 << 30

// trimHexCache removes the tarballs that were fetched longest ago while all
// are more than limit. What is missed is fetched and verified again.
func trimHexCache(dir string, limit int64) error {
	all, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the cache of hex packages: %w", err)
	}
	var files []fs.FileInfo
	var total int64
	for _, d := range all {
		info, err := d.Info()
		if err != nil {
			continue // another build's, renamed meanwhile
		}
		files, total = append(files, info), total+info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= limit {
			break
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim the cache of hex packages: %w", err)
		}
		total -= f.Size()
	}
	return nil
}
