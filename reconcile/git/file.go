package git

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// fileInfo describes one entry of a tree.
type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
	when time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return i.when }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

// file is one opened blob.
type file struct {
	info fileInfo
	r    *bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error)         { return f.info, nil }
func (f *file) Read(p []byte) (int, error)         { return f.r.Read(p) }
func (f *file) Seek(o int64, w int) (int64, error) { return f.r.Seek(o, w) }
func (f *file) Close() error                       { return nil }

// folder is one opened tree.
type folder struct {
	info    fileInfo
	entries []fs.DirEntry
	sorted  bool
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

// ReadDir returns entries by name; git's own order treats a folder "a" as "a/".
func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.sorted {
		slices.SortFunc(d.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		d.sorted = true
	}
	if n <= 0 {
		rest := d.entries
		d.entries = nil
		return rest, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	part := d.entries[:n]
	d.entries = d.entries[n:]
	return part, nil
}
