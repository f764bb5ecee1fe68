package images

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"beamsandbox/reconcile/app"
)

// Head is the commit that a git branch is at now, asked of its remote. It is ""
// for a source that does not move: a tag, a commit, another type.
func (s *Store) Head(ctx context.Context, src app.Source) (string, error) {
	if src.Type != app.SourceGit || plumbing.IsHash(src.Ref) || strings.HasPrefix(src.Ref, "refs/tags/") {
		return "", nil
	}
	refs, err := s.gits.list(ctx, src.URL)
	if err != nil {
		return "", err
	}
	commit, branch, ok := lookup(refs, src.Ref)
	switch {
	case !ok:
		return "", fmt.Errorf("resolve %q in %s: the repository has no such branch or tag any more", src.Ref, stripUser(src.URL))
	case !branch:
		return "", nil
	}
	return commit, nil
}
