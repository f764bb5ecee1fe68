package images

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/revlist"
)

// Limits on what a builder may ask of a repository at once.
const (
	maxWants     = 4096
	packWindow   = 10
	uploadBanner = "# service=git-upload-pack\n"
)

// advertise writes the refs of repo as git's smart HTTP protocol has them
// (gitprotocol-http, "Smart Clients"), protocol version 0. The server offers
// no shallow clones and no multi_ack, so that a client asks once.
func advertise(w io.Writer, repo *git.Repository) error {
	lines, err := refLines(repo)
	if err != nil {
		return err
	}
	e := pktline.NewEncoder(w)
	if err := errors.Join(e.EncodeString(uploadBanner), e.Flush()); err != nil {
		return err
	}
	const capabilities = "\x00ofs-delta agent=beamsandbox"
	if len(lines) == 0 {
		lines = []string{plumbing.ZeroHash.String() + " capabilities^{}"}
	}
	for i, line := range lines {
		if i == 0 {
			line += capabilities
		}
		if err := e.EncodeString(line + "\n"); err != nil {
			return err
		}
	}
	return e.Flush()
}

// refLines lists HEAD, then branches and tags; an annotated tag is followed
// by the commit it leads to.
func refLines(repo *git.Repository) ([]string, error) {
	var lines []string
	if head, err := repo.Head(); err == nil {
		lines = append(lines, head.Hash().String()+" HEAD")
	}
	refs, err := repo.References()
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	err = refs.ForEach(func(r *plumbing.Reference) error {
		if r.Type() != plumbing.HashReference || !strings.HasPrefix(r.Name().String(), "refs/") {
			return nil
		}
		lines = append(lines, r.Hash().String()+" "+r.Name().String())
		if tag, err := repo.TagObject(r.Hash()); err == nil {
			lines = append(lines, tag.Target.String()+" "+r.Name().String()+"^{}")
		}
		return nil
	})
	return lines, err
}

// A want is what a client asked for in one POST of git-upload-pack.
type want struct {
	commits []plumbing.Hash
	haves   []plumbing.Hash
	done    bool
}

// readWant decodes the request of gitprotocol-pack's "Packfile Negotiation".
func readWant(r io.Reader) (want, error) {
	var out want
	s := pktline.NewScanner(bufio.NewReader(r))
	for s.Scan() {
		line := strings.TrimSuffix(string(s.Bytes()), "\n")
		verb, rest, _ := strings.Cut(line, " ")
		hash, _, _ := strings.Cut(rest, " ")
		switch verb {
		case "":
		case "done":
			out.done = true
			return out, nil
		case "want", "have":
			if !plumbing.IsHash(hash) || len(out.commits)+len(out.haves) >= maxWants {
				return want{}, fmt.Errorf("read request: %.80q is not a commit, or one too many", line)
			}
			if verb == "want" {
				out.commits = append(out.commits, plumbing.NewHash(hash))
			} else {
				out.haves = append(out.haves, plumbing.NewHash(hash))
			}
		default:
			return want{}, fmt.Errorf("read request: %.80q is not supported: only whole histories are served", line)
		}
	}
	return out, s.Err()
}

// answer writes the objects that lead to the wanted commits and are not
// among what the client has. Without "done" the client goes on negotiating.
func (q want) answer(w io.Writer, repo *git.Repository) error {
	if err := pktline.NewEncoder(w).EncodeString("NAK\n"); err != nil || !q.done {
		return err
	}
	var known []plumbing.Hash
	for _, h := range q.haves {
		if repo.Storer.HasEncodedObject(h) == nil {
			known = append(known, h)
		}
	}
	have, err := revlist.Objects(repo.Storer, known, nil)
	if err != nil {
		return fmt.Errorf("list what the client has: %w", err)
	}
	objects, err := revlist.Objects(repo.Storer, q.commits, have)
	if err != nil {
		return fmt.Errorf("list what the client wants: %w", err)
	}
	if _, err := packfile.NewEncoder(w, repo.Storer, false).Encode(objects, packWindow); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}
