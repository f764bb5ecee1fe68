package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"beamsandbox/distribution/term"
)

// A mirror keeps bare copies of the repositories that one app depends on, a
// folder for each address.
type mirror struct {
	dir  string
	gits gits
	lock *sync.Mutex
}

// open returns the copy of a remote, brought up to date when asked to or
// when there is none. A copy that cannot be brought up to date is made anew.
func (m mirror) open(ctx context.Context, remote string, update bool) (*git.Repository, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	sum := sha256.Sum256([]byte(canonical(remote)))
	dir := filepath.Join(m.dir, hex.EncodeToString(sum[:8]))
	repo, err := git.PlainOpen(dir)
	if err == nil && !update {
		return repo, nil
	}
	if err == nil {
		if err = m.update(ctx, repo, remote); err == nil {
			return repo, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return m.clone(ctx, dir, remote)
}

func (m mirror) clone(ctx context.Context, dir, remote string) (*git.Repository, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear the copy of %s: %w", stripUser(remote), err)
	}
	repo, err := git.PlainInit(dir, true)
	if err != nil {
		return nil, fmt.Errorf("make a copy of %s: %w", stripUser(remote), err)
	}
	if err := m.update(ctx, repo, remote); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return repo, nil
}

// update fetches all branches and tags and points HEAD where the remote does.
func (m mirror) update(ctx context.Context, repo *git.Repository, remote string) error {
	if err := m.gits.fetch(ctx, repo, remote, 0, everything...); err != nil {
		return err
	}
	refs, err := m.gits.list(ctx, remote)
	if err != nil {
		return err
	}
	head, ok := refs["HEAD"]
	if !ok {
		return nil
	}
	for name, commit := range refs {
		if commit == head && plumbing.ReferenceName(name).IsBranch() {
			return repo.Storer.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.ReferenceName(name)))
		}
	}
	return nil
}

// commitRemotes reads the git dependencies that rebar.config or mix.exs
// declare at a commit; what cannot be read declares none.
func commitRemotes(commit *object.Commit) []string {
	var p project
	if terms, err := term.Parse([]byte(commitFile(commit, rebarFile))); err == nil {
		p.read(terms)
	}
	return append(p.remotes, mixRemotes(commitFile(commit, mixFile))...)
}

// commitFile is a short file of a commit, "" when there is none.
func commitFile(commit *object.Commit, name string) string {
	file, err := commit.File(name)
	if err != nil || file.Size > maxConfig {
		return ""
	}
	text, err := file.Contents()
	if err != nil {
		return ""
	}
	return text
}
