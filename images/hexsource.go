package images

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
	hexrepo "beamsandbox/images/hex"
	"beamsandbox/reconcile/app"
)

// hexSource takes an app from the first configured Hex repository that has
// its package.
type hexSource struct {
	hexes hexRegistries
	log   *slog.Logger
}

// hexPackage is the package that a recipe names, by the app's name unless it
// says otherwise.
func hexPackage(r Recipe) string {
	if r.Source.Name != "" {
		return r.Source.Name
	}
	return string(r.Name)
}

func hexVersion(r Recipe) string {
	if r.Source.Ref != "" {
		return r.Source.Ref
	}
	return r.Version
}

// resolve is the SHA-256 that the registry signed for the version's tarball.
// A version that was seen before costs no question: it never changes.
func (h hexSource) resolve(ctx context.Context, r Recipe) (string, error) {
	_, release, err := h.find(ctx, hexPackage(r), hexVersion(r), hexRegistry.find)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(release.OuterChecksum), nil
}

// own is the app's own package, as the registry last described it.
func (h hexSource) own(ctx context.Context, r Recipe) (Dependency, error) {
	reg, release, err := h.find(ctx, hexPackage(r), hexVersion(r), hexRegistry.find)
	if err != nil {
		return Dependency{}, err
	}
	return reg.dependency(hexPackage(r), release), nil
}

// question is how a registry is asked for one version: hexRegistry.find or
// hexRegistry.findNow.
type question func(r hexRegistry, ctx context.Context, name, version string) (hexrepo.Release, error)

// find asks one repository after the other; one that does not answer, or not
// as it should, ends the search: another's package of the same name may be
// anybody's.
func (h hexSource) find(ctx context.Context, name, version string, ask question) (hexRegistry, hexrepo.Release, error) {
	if len(h.hexes) == 0 {
		return hexRegistry{}, hexrepo.Release{}, errors.New("no hex repository is configured: set hex in the configuration")
	}
	for _, reg := range h.hexes {
		release, err := ask(reg, ctx, name, version)
		if err == nil {
			return reg, release, nil
		}
		if !errors.Is(err, hexrepo.ErrNotFound) {
			return hexRegistry{}, hexrepo.Release{}, err
		}
	}
	var names []string
	for _, reg := range h.hexes {
		names = append(names, reg.Name)
	}
	return hexRegistry{}, hexrepo.Release{}, fmt.Errorf("find package %s in hex repository %s: %w", name, strings.Join(names, ", "), hexrepo.ErrNotFound)
}

// extract writes a project that makes a release: the package itself when it
// describes one, else a project around it that depends on this very version.
func (h hexSource) extract(ctx context.Context, r Recipe, revision, dir string) error {
	name, version := hexPackage(r), hexVersion(r)
	reg, release, err := h.find(ctx, name, version, hexRegistry.findNow)
	if err != nil {
		return err
	}
	if release.Retired != nil {
		h.log.Warn("package is retired by its authors", "app", r.Name, "version", version, "reason", release.Retired.String())
	}
	if hex.EncodeToString(release.OuterChecksum) != revision {
		return fmt.Errorf("take %s %s: its registry signed another tarball meanwhile; try again", name, version)
	}
	raw, err := reg.client.Tarball(ctx, name, version, release.OuterChecksum)
	if err != nil {
		return err
	}
	archive, err := hexrepo.Open(raw, release.OuterChecksum)
	if err != nil {
		return err
	}
	if archive.Metadata.App != string(r.Name) {
		return fmt.Errorf("take %s %s: it holds application %.80q, not %s: call the app by that name", name, version, archive.Metadata.App, r.Name)
	}
	if err := archive.Unpack(dir); err != nil {
		return err
	}
	own, err := describesRelease(dir)
	if own || err != nil {
		return err
	}
	return around(dir, r, reg, archive.Metadata)
}

// describesRelease reports whether the project in dir makes a release that
// its authors described.
func describesRelease(dir string) (bool, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close() //nolint:errcheck // opened to read
	if _, err := root.Stat(rebarFile); err == nil {
		p, err := readProject(root)
		return p.release, err
	}
	return mixReleases(root), nil
}

// around replaces the package in dir by a project that depends on it.
func around(dir string, r Recipe, reg hexRegistry, m hexrepo.Metadata) error {
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil {
		return err
	}
	for _, old := range append(all, hidden...) {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("clear the package: %w", err)
		}
	}
	for _, word := range []string{m.Name, m.App, m.Version, releaseVersion(r)} {
		if !plain.MatchString(word) {
			return fmt.Errorf("make a release around %.80q: %.80q is not plain: use letters, digits, dots, + and -", m.Name, word)
		}
	}
	file, text := rebarFile, rebarAround(r, m)
	if slices.Contains(m.BuildTools, "mix") && !slices.ContainsFunc(m.BuildTools, func(t string) bool { return t == "rebar3" || t == "make" }) {
		file, text = mixFile, mixAround(r, reg, m)
	}
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
		return fmt.Errorf("make a release around %s: %w", m.Name, err)
	}
	return nil
}

// rebarAround depends on the package and makes a release of it.
func rebarAround(r Recipe, m hexrepo.Metadata) []byte {
	pair := func(key string, value ...term.Term) term.Term { return append(term.Tuple{term.Atom(key)}, value...) }
	list := func(all ...term.Term) term.Term { return term.List{Elems: all} }
	dep := term.Tuple{term.Atom(m.App), textOf(m.Version), term.Tuple{term.Atom("pkg"), term.Atom(m.Name)}}
	release := pair("release", term.Tuple{term.Atom(r.Name), textOf(releaseVersion(r))}, list(term.Atom(m.App)))
	prod := pair("prod", list(pair("relx", list(pair("mode", term.Atom("prod"))))))
	return term.WriteConsult(pair("deps", list(dep)), pair("relx", list(release)), pair("profiles", list(prod)))
}

// textOf is a string of Erlang.
func textOf(s string) term.Term {
	var out term.List
	for _, c := range s {
		out.Elems = append(out.Elems, term.Int(c))
	}
	return out
}

// mixAround is the same for mix. Every word in it is plain.
func mixAround(r Recipe, reg hexRegistry, m hexrepo.Metadata) []byte {
	return fmt.Appendf(nil, `defmodule BeamsandboxAround.MixProject do
  use Mix.Project
  def project do
    [app: :beamsandbox_around, version: %q, deps: [{:%q, "== %s", hex: :%q, repo: %q}],
     releases: [{:%q, [applications: [{:%q, :permanent}]]}]]
  end
  def application, do: []
end
`, releaseVersion(r), m.App, m.Version, m.Name, reg.Name, string(r.Name), m.App)
}

// releaseVersion is the version of a release that the source does not name.
func releaseVersion(r Recipe) string {
	switch {
	case r.Version != "":
		return r.Version
	case r.Source.Type == app.SourceHex && r.Source.Ref != "":
		return r.Source.Ref
	}
	return "0.0.0"
}
