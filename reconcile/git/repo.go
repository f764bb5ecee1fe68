package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// maxPacks bounds the store: go-git never collects garbage, so a store with
// more packs than this is fetched anew.
const maxPacks = 64

// A Repo follows one branch of one remote repository. Its methods may be
// called from many goroutines; one Fetch runs at a time.
type Repo struct {
	cfg Config
	end *transport.Endpoint

	mu   sync.Mutex
	last Commit // the commit that was read and checked in this process
}

// Open prepares to follow cfg's branch. It does not touch the network.
func Open(cfg Config) (*Repo, error) {
	end, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	if cfg.Dir == "" && end.Protocol != "file" {
		return nil, errors.New("open repository: no folder for the store")
	}
	return &Repo{cfg: cfg.withDefaults(), end: end}, nil
}

// Fetch returns the newest commit of the branch. The remote's head is asked
// first: when it has not moved nothing is transferred. A damaged store is
// thrown away and fetched again.
func (r *Repo) Fetch(ctx context.Context) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	c, err := r.fetch(ctx)
	if err != nil {
		return Commit{}, fmt.Errorf("fetch %s: %w", Redact(r.cfg.URL), err)
	}
	r.last = c
	return c, nil
}

func (r *Repo) fetch(ctx context.Context) (Commit, error) {
	src, err := r.source()
	if err != nil {
		return Commit{}, err
	}
	head, err := src.head(ctx, r.cfg.Branch)
	if err != nil {
		return Commit{}, err
	}
	if r.last.Hash == head.Hash().String() {
		return r.last, nil
	}
	c, err := r.bring(ctx, src, head)
	if err == nil || ctx.Err() != nil || errors.Is(err, errLimit) {
		return c, err
	}
	// Whatever is wrong with the store, a new one is not wrong in that way.
	if rerr := os.RemoveAll(r.cfg.Dir); rerr != nil {
		return Commit{}, errors.Join(err, rerr)
	}
	return r.bring(ctx, src, head)
}

// Last returns the commit that was fetched last, from our own store alone, for
// a start while the remote is away.
func (r *Repo) Last(ctx context.Context) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.Hash != "" {
		return r.last, nil
	}
	st, err := r.store()
	if err != nil {
		return Commit{}, err
	}
	ref, err := st.Reference(followed)
	if err != nil {
		return Commit{}, fmt.Errorf("read the last commit of %s: %w", Redact(r.cfg.URL), err)
	}
	return read(ctx, st, ref.Hash(), r.cfg)
}

// followed names the newest commit in our own store.
const followed plumbing.ReferenceName = "refs/remotes/origin/followed"

// bring makes sure that head's files are in the store and reads them.
func (r *Repo) bring(ctx context.Context, src source, head *plumbing.Reference) (Commit, error) {
	st, err := r.store()
	if err != nil {
		return Commit{}, err
	}
	if st.HasEncodedObject(head.Hash()) != nil {
		if err := src.transfer(ctx, st, head); err != nil {
			return Commit{}, err
		}
	}
	c, err := read(ctx, st, head.Hash(), r.cfg)
	if err != nil {
		return Commit{}, err
	}
	if err := st.SetReference(plumbing.NewHashReference(followed, head.Hash())); err != nil {
		return Commit{}, fmt.Errorf("note the commit: %w", err)
	}
	return c, nil
}

// store opens our own bare store, making it when it is not there.
func (r *Repo) store() (*filesystem.Storage, error) {
	packs, _ := filepath.Glob(filepath.Join(r.cfg.Dir, "objects", "pack", "*.pack"))
	if len(packs) > maxPacks {
		if err := os.RemoveAll(r.cfg.Dir); err != nil {
			return nil, fmt.Errorf("clear store: %w", err)
		}
	}
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	st := filesystem.NewStorage(osfs.New(r.cfg.Dir), cache.NewObjectLRU(8*cache.MiByte))
	if _, err := gogit.Init(st, nil); err != nil && !errors.Is(err, gogit.ErrRepositoryAlreadyExists) {
		return nil, fmt.Errorf("make store %s: %w", r.cfg.Dir, err)
	}
	return st, nil
}

// A source is where commits come from.
type source interface {
	// head finds the branch, or HEAD when branch is "".
	head(ctx context.Context, branch string) (*plumbing.Reference, error)
	// transfer brings one commit and its files into st.
	transfer(ctx context.Context, st *filesystem.Storage, head *plumbing.Reference) error
}

func (r *Repo) source() (source, error) {
	if r.end.Protocol == "file" {
		return openLocal(r.end.Path, r.cfg)
	}
	auth, err := r.cfg.auth(r.end)
	if err != nil {
		return nil, err
	}
	return &remote{url: r.cfg.URL, auth: auth}, nil
}

// remote is a repository behind https or ssh.
type remote struct {
	url  string
	auth transport.AuthMethod
}

func (r *remote) on(st *filesystem.Storage) *gogit.Remote {
	return gogit.NewRemote(st, &config.RemoteConfig{Name: "origin", URLs: []string{r.url}})
}

func (r *remote) head(ctx context.Context, branch string) (*plumbing.Reference, error) {
	refs, err := r.on(nil).ListContext(ctx, &gogit.ListOptions{Auth: r.auth})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return nil, errEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the branches: %w", err)
	}
	return find(refs, branch)
}

func (r *remote) transfer(ctx context.Context, st *filesystem.Storage, head *plumbing.Reference) error {
	spec := config.RefSpec("+" + head.Name().String() + ":" + followed.String())
	err := r.on(st).FetchContext(ctx, &gogit.FetchOptions{
		RefSpecs: []config.RefSpec{spec},
		Auth:     r.auth,
		Depth:    1,
		Tags:     gogit.NoTags,
		Force:    true,
	})
	if err != nil && !errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return fmt.Errorf("transfer %s: %w", head.Hash(), err)
	}
	return nil
}

var errEmpty = errors.New("the repository has no commit yet: push one")

// find picks branch out of refs and follows HEAD to the branch it names.
func find(refs []*plumbing.Reference, branch string) (*plumbing.Reference, error) {
	byName := make(map[plumbing.ReferenceName]*plumbing.Reference, len(refs))
	for _, ref := range refs {
		byName[ref.Name()] = ref
	}
	if len(refs) == 0 {
		return nil, errEmpty
	}
	name := plumbing.NewBranchReferenceName(branch)
	if branch == "" {
		name = plumbing.HEAD
	}
	for range 5 { // HEAD points to a branch; a loop of symbolic names ends here
		ref, ok := byName[name]
		switch {
		case !ok && branch == "":
			return nil, errEmpty
		case !ok:
			return nil, fmt.Errorf("there is no branch %q: push it or change the key branch", branch)
		case ref.Type() == plumbing.HashReference:
			return ref, nil
		}
		name = ref.Target()
	}
	return nil, fmt.Errorf("branch %q points to itself", branch)
}
