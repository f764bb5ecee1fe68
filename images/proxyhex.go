package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	hexrepo "beamsandbox/images/hex"
)

// maxPackages bounds how many packages one build may ask for: their names
// are the one thing that it can tell a registry.
const maxPackages = 1000

// hex answers what a Hex repository would (hexpm/specifications,
// endpoints.md): rest is "REPOSITORY/packages/NAME" or
// "REPOSITORY/tarballs/NAME-VERSION.tar". Registry answers are passed on as
// they were signed, after they were verified here; tarballs when they match
// what is signed.
func (p *proxy) hex(w http.ResponseWriter, r *http.Request, rest string) {
	name, kind, file := cutHex(rest)
	reg, ok := p.hexes.named(name)
	switch {
	case !ok:
		p.refuse(w, fmt.Sprintf("hex repository %s: it is not configured", name))
	case kind == "packages" && p.counted(name+"/"+file):
		res, err := reg.client.Resource(r.Context(), file)
		p.passOn(w, r, "package "+file+" of hex repository "+name, res.Raw, err)
	case kind == "tarballs":
		p.tarball(w, r, reg, file)
	case kind == "installs": // Hex for mix looks for a newer Hex
		http.NotFound(w, r)
	default:
		p.refuse(w, "the address /hex/"+rest)
	}
}

// cutHex parts "hexpm/packages/x", and "hexpm/repos/acme/packages/x" for an
// organization.
func cutHex(rest string) (repository, kind, file string) {
	repository, rest, _ = strings.Cut(rest, "/")
	if organization, ok := strings.CutPrefix(rest, "repos/"); ok {
		organization, rest, _ = strings.Cut(organization, "/")
		repository += ":" + organization
	}
	kind, file, _ = strings.Cut(rest, "/")
	return repository, kind, file
}

// counted reports whether one more package may be asked for.
func (p *proxy) counted(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.asked, name) && len(p.asked) < maxPackages {
		p.asked = append(p.asked, name)
	}
	return slices.Contains(p.asked, name)
}

func (p *proxy) tarball(w http.ResponseWriter, r *http.Request, reg hexRegistry, file string) {
	file, ok := strings.CutSuffix(file, ".tar")
	name, version, cut := strings.Cut(file, "-")
	if !ok || !cut || !p.counted(reg.Name+"/"+name) {
		p.refuse(w, "the tarball "+file+" of hex repository "+reg.Name)
		return
	}
	release, raw, err := reg.release(r.Context(), name, version)
	if p.passOn(w, r, name+" "+version+" of hex repository "+reg.Name, raw, err) {
		p.took(reg.dependency(name, release))
	}
}

// release gets a package's tarball by what the registry signed for it.
func (r hexRegistry) release(ctx context.Context, name, version string) (hexrepo.Release, []byte, error) {
	release, err := r.find(ctx, name, version)
	if err != nil {
		return hexrepo.Release{}, nil, err
	}
	raw, err := r.client.Tarball(ctx, name, version, release.OuterChecksum)
	return release, raw, err
}

// find reads what the registry says of one version: the last answer that is
// at hand, when it has the version, or else a new one.
func (r hexRegistry) find(ctx context.Context, name, version string) (hexrepo.Release, error) {
	if res, ok := r.client.Cached(name); ok {
		if release, err := res.Package.Release(version); err == nil {
			return release, nil
		}
	}
	return r.findNow(ctx, name, version)
}

// findNow asks the registry; while it is unreachable, what it last said of the
// version holds.
func (r hexRegistry) findNow(ctx context.Context, name, version string) (hexrepo.Release, error) {
	p, err := r.client.Package(ctx, name)
	if err == nil {
		return p.Release(version)
	}
	if last, ok := r.client.Cached(name); ok && errors.Is(err, hexrepo.ErrUnreachable) {
		if release, lastErr := last.Package.Release(version); lastErr == nil {
			return release, nil
		}
	}
	return hexrepo.Release{}, err
}

func (r hexRegistry) dependency(name string, release hexrepo.Release) Dependency {
	d := Dependency{
		Kind: "hex", Name: name, Repository: r.Name, Version: release.Version, Checksum: hex.EncodeToString(release.OuterChecksum),
		URL: stripUser(strings.TrimRight(r.URL, "/")) + "/tarballs/" + name + "-" + release.Version + ".tar",
	}
	if release.Retired != nil {
		d.Retired = release.Retired.String()
	}
	return d
}

// passOn answers with verified bytes or says why there are none. rebar3
// takes no tarball without an ETag.
func (p *proxy) passOn(w http.ResponseWriter, r *http.Request, what string, raw []byte, err error) bool {
	switch {
	case errors.Is(err, hexrepo.ErrNotFound):
		p.miss(what)
		http.NotFound(w, r)
		return false
	case err != nil:
		p.fail(w, what, err)
		return false
	}
	sum := sha256.Sum256(raw)
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(raw) //nolint:errcheck // the builder may have gone
	return true
}

// miss notes what a registry does not have: another one may.
func (p *proxy) miss(what string) {
	note(p.log, "there is no %s", what)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.missing) < 100 && !slices.Contains(p.missing, what) {
		p.missing = append(p.missing, what)
	}
}

// fail says why something declared cannot be served. Bad Gateway would make
// the tools try again; what does not verify will not do so a second later.
func (p *proxy) fail(w http.ResponseWriter, what string, err error) {
	message := fmt.Sprintf("%.500s", what+": "+err.Error())
	p.mu.Lock()
	if len(p.failed) < 100 && !slices.Contains(p.failed, message) {
		p.failed = append(p.failed, message)
	}
	p.mu.Unlock()
	note(p.log, "%s", message)
	http.Error(w, "beamsandbox: "+message, http.StatusBadGateway)
}
