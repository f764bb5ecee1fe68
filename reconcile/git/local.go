package git

import (
	"context"
	"errors"
	"fmt"
	"os"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// local is a repository on this machine. It is read directly: go-git's own
// file transport runs the git program with the address as an argument, which
// is how CVE-2025-21613 came about, and needs that program.
type local struct {
	from storer.Storer
	cfg  Config
}

func openLocal(path string, cfg Config) (*local, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	repo, err := gogit.PlainOpen(path)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s is not a git repository: run git init there", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &local{from: repo.Storer, cfg: cfg}, nil
}

func (l *local) head(_ context.Context, branch string) (*plumbing.Reference, error) {
	iter, err := l.from.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("read branches: %w", err)
	}
	var refs []*plumbing.Reference
	err = iter.ForEach(func(ref *plumbing.Reference) error {
		refs = append(refs, ref)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read branches: %w", err)
	}
	// A fresh repository has a HEAD that names a branch without a commit.
	if len(refs) == 1 && refs[0].Type() == plumbing.SymbolicReference {
		return nil, errEmpty
	}
	return find(refs, branch)
}

func (l *local) transfer(ctx context.Context, st *filesystem.Storage, head *plumbing.Reference) error {
	commit, err := object.GetCommit(l.from, head.Hash())
	if err != nil {
		return fmt.Errorf("read commit %s: %w", head.Hash(), err)
	}
	b := &budget{cfg: l.cfg}
	if err := l.copyTree(ctx, st, commit.TreeHash, "", b); err != nil {
		return err
	}
	if err := l.copyObject(st, head.Hash()); err != nil {
		return err
	}
	return st.SetShallow([]plumbing.Hash{head.Hash()})
}

// copyTree copies what a tree names before the tree itself, so that a tree
// which is there is complete whenever we were interrupted.
func (l *local) copyTree(ctx context.Context, st *filesystem.Storage, h plumbing.Hash, dir string, b *budget) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tree, err := object.GetTree(l.from, h)
	if err != nil {
		return fmt.Errorf("read folder %q: %w", dir, err)
	}
	if err := b.enter(dir); err != nil {
		return err
	}
	for _, e := range tree.Entries {
		path := dir + "/" + e.Name
		switch e.Mode {
		case filemode.Submodule: // lives in another repository
			continue
		case filemode.Dir:
			err = l.copyTree(ctx, st, e.Hash, path, b)
		default:
			err = l.copyBlob(st, e.Hash, path, b)
		}
		if err != nil {
			return err
		}
	}
	b.leave()
	return l.copyObject(st, h)
}

func (l *local) copyBlob(st *filesystem.Storage, h plumbing.Hash, path string, b *budget) error {
	size, err := l.from.EncodedObjectSize(h)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := b.spend(path, size); err != nil {
		return err
	}
	return l.copyObject(st, h)
}

func (l *local) copyObject(st *filesystem.Storage, h plumbing.Hash) error {
	if st.HasEncodedObject(h) == nil {
		return nil
	}
	obj, err := l.from.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return fmt.Errorf("read object %s: %w", h, err)
	}
	if _, err := st.SetEncodedObject(obj); err != nil {
		return fmt.Errorf("store object %s: %w", h, err)
	}
	return nil
}
