package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"
)

// fetchTimeout bounds one conversation with a git remote.
const fetchTimeout = 5 * time.Minute

// gits talks to git remotes on the host's side.
type gits struct {
	// auth gives the credentials for a URL; nil means go-git's defaults.
	auth func(url string) (transport.AuthMethod, error)
}

// gitSource takes an app from a git repository at a branch, tag or commit.
type gitSource struct{ gits gits }

// resolve asks the remote for its refs, unless ref is a commit already.
func (g gitSource) resolve(ctx context.Context, r Recipe) (string, error) {
	if plumbing.IsHash(r.Source.Ref) {
		return strings.ToLower(r.Source.Ref), nil
	}
	refs, err := g.gits.list(ctx, r.Source.URL)
	if err != nil {
		return "", err
	}
	commit, _, ok := lookup(refs, r.Source.Ref)
	if !ok {
		return "", fmt.Errorf("resolve %q in %s: the repository has no such branch or tag; a commit is given in full", r.Source.Ref, stripUser(r.Source.URL))
	}
	return commit, nil
}

// lookup finds a ref as git rev-parse does: full name, tag, branch; no name
// means HEAD. An annotated tag leads to its commit. It reports whether the ref
// is one that moves.
func lookup(refs map[string]string, ref string) (commit string, branch, ok bool) {
	if ref == "" {
		ref = "HEAD"
	}
	for _, name := range []string{ref + "^{}", ref, "refs/tags/" + ref + "^{}", "refs/tags/" + ref, "refs/heads/" + ref} {
		if commit, ok := refs[name]; ok {
			return commit, name == "HEAD" || strings.HasPrefix(name, "refs/heads/"), true
		}
	}
	return "", false, false
}

// list returns the remote's refs by full name; peeled tags end in "^{}".
func (g gits) list(ctx context.Context, url string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	auth, err := g.credentials(url)
	if err != nil {
		return nil, err
	}
	remote := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{url}})
	listed, err := remote.ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its branches: %w", stripUser(url), err)
	}
	out := map[string]string{}
	for _, ref := range listed {
		if ref.Type() == plumbing.HashReference {
			out[ref.Name().String()] = ref.Hash().String()
		}
	}
	for _, ref := range listed {
		if ref.Type() == plumbing.SymbolicReference {
			out[ref.Name().String()] = out[ref.Target().String()]
		}
	}
	return out, nil
}

func (g gits) credentials(url string) (transport.AuthMethod, error) {
	if g.auth == nil {
		return nil, nil
	}
	auth, err := g.auth(url)
	if err != nil {
		return nil, fmt.Errorf("find credentials for %s: %w", stripUser(url), err)
	}
	return auth, nil
}

// extract fetches the commit alone, without history, into a store that lives
// as long as this call, and writes its files below dir.
func (g gitSource) extract(ctx context.Context, r Recipe, revision, dir string) error {
	store, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return fmt.Errorf("make a folder to fetch into: %w", err)
	}
	defer os.RemoveAll(store) //nolint:errcheck // it goes with the work folder
	commit, err := g.gits.commit(ctx, store, r.Source.URL, revision)
	if err != nil {
		return err
	}
	files, err := commit.Tree()
	if err != nil {
		return fmt.Errorf("read commit %s of %s: %w", revision, stripUser(r.Source.URL), err)
	}
	return extract(dir, treeEntries(ctx, files))
}

// commit gets one commit: by its own name where the remote allows that, else
// by a ref that leads to it, else out of the whole history.
func (g gits) commit(ctx context.Context, dir, url, revision string) (*object.Commit, error) {
	repo, err := git.PlainInit(dir, true)
	if err != nil {
		return nil, fmt.Errorf("make a git store in %s: %w", dir, err)
	}
	hash := plumbing.NewHash(revision)
	exact := config.RefSpec(revision + ":refs/heads/wanted")
	if err = g.fetch(ctx, repo, url, 1, exact); err != nil && !errors.Is(err, git.ErrExactSHA1NotSupported) {
		return nil, err
	}
	if c, err := repo.CommitObject(hash); err == nil {
		return c, nil
	}
	refs, err := g.list(ctx, url)
	if err != nil {
		return nil, err
	}
	for name, commit := range refs {
		name = strings.TrimSuffix(name, "^{}")
		if commit != revision || !strings.HasPrefix(name, "refs/") {
			continue
		}
		if err := g.fetch(ctx, repo, url, 1, config.RefSpec("+"+name+":"+name)); err != nil {
			return nil, err
		}
		if c, err := repo.CommitObject(hash); err == nil {
			return c, nil
		}
	}
	return g.commitFromAll(ctx, dir, url, hash)
}

func (g gits) commitFromAll(ctx context.Context, dir, url string, hash plumbing.Hash) (*object.Commit, error) {
	repo, err := git.PlainInit(filepath.Join(dir, "all"), true)
	if err != nil {
		return nil, fmt.Errorf("make a git store in %s: %w", dir, err)
	}
	if err := g.fetch(ctx, repo, url, 0, everything...); err != nil {
		return nil, err
	}
	c, err := repo.CommitObject(hash)
	if err != nil {
		return nil, fmt.Errorf("find commit %s in %s: no branch or tag leads to it", hash, stripUser(url))
	}
	return c, nil
}

// everything are all branches and tags.
var everything = []config.RefSpec{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}

// fetch brings refs from a remote; depth 0 is the whole history.
func (g gits) fetch(ctx context.Context, repo *git.Repository, url string, depth int, specs ...config.RefSpec) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	auth, err := g.credentials(url)
	if err != nil {
		return err
	}
	remote := git.NewRemote(repo.Storer, &config.RemoteConfig{Name: "origin", URLs: []string{url}})
	err = remote.FetchContext(ctx, &git.FetchOptions{Auth: auth, RefSpecs: specs, Depth: depth, Tags: git.NoTags, Force: true})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return fmt.Errorf("fetch from %s: %w", stripUser(url), err)
	}
	return nil
}

// treeEntries yields the files and links of a commit.
func treeEntries(ctx context.Context, files *object.Tree) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		walker := object.NewTreeWalker(files, true, nil)
		defer walker.Close()
		for ctx.Err() == nil {
			name, e, err := walker.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && e.Mode == filemode.Dir {
				continue
			}
			var out entry
			if err == nil {
				out, err = treeEntry(files, name, e)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
		yield(entry{}, ctx.Err())
	}
}

func treeEntry(files *object.Tree, name string, e object.TreeEntry) (entry, error) {
	if e.Mode == filemode.Submodule {
		return entry{}, fmt.Errorf("extract %q: git submodules are not supported: make it a dependency in rebar.config", name)
	}
	f, err := files.TreeEntryFile(&e)
	if err != nil {
		return entry{}, fmt.Errorf("read %q of the commit: %w", name, err)
	}
	mode := fs.FileMode(0o644)
	switch e.Mode {
	case filemode.Executable:
		mode = 0o755
	case filemode.Symlink:
		mode = fs.ModeSymlink | 0o777
	}
	return entry{path: name, mode: mode, size: f.Size, open: f.Reader}, nil
}

// stripUser takes user and password out of an address, for logs and labels.
func stripUser(address string) string {
	u, err := url.Parse(address)
	if scheme, _, ok := strings.Cut(address, "://"); ok && err != nil {
		return scheme + "://(unreadable address)"
	}
	if err != nil || u.User == nil {
		return address
	}
	u.User = nil
	return u.String()
}
