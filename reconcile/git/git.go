// Package git follows one branch and hands out each commit's files.
package git

import (
	"io/fs"
	"time"
)

// Commit is one commit's tree, read straight from the object store.
type Commit struct {
	Hash string // 40 hex digits, or the content digest of a plain folder
	When time.Time
	Tree fs.FS
}
