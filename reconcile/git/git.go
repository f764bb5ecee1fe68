// Package git follows one branch and hands out each commit's files.
//
// Nothing is ever checked out: files are read straight from the object
// store, so a repository cannot plant a link or a path that leaves it.
package git

import (
	"io/fs"
	"time"
)

// Commit is one commit's tree, read straight from the object store. The tree
// may be read until the next Fetch.
type Commit struct {
	Hash string // 40 hex digits, or the content digest of a plain folder
	When time.Time
	Tree fs.FS
}
