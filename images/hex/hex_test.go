package hex_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/app"
)

// registry serves one package, tiny, with two releases and a dependency.
func registry(t *testing.T) (*hextest.Registry, *hex.Repository) {
	t.Helper()
	r, err := hextest.New("acme")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for _, version := range []string{"0.9.0", "1.0.0"} {
		publish(t, r, version)
	}
	client := r.Repository()
	client.Cache = filepath.Join(t.TempDir(), "cache")
	return r, client
}

func publish(t *testing.T, r *hextest.Registry, version string) []byte {
	t.Helper()
	outer, err := r.Publish(hextest.Package{
		Name: "tiny", Version: version, Requirements: []hex.Dependency{{Package: "recon", Requirement: "~> 2.5", App: "recon", Repository: "acme"}},
		Files: fstest.MapFS{"src/tiny.erl": {Data: []byte("-module(tiny).\n")}, "c_src/build.sh": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return outer
}

func TestPackage(t *testing.T) {
	r, client := registry(t)
	if err := r.Retire("tiny", "0.9.0", hex.Retirement{Reason: hex.RetiredSecurity, Message: "use 1.0.0"}); err != nil {
		t.Fatal(err)
	}
	p, err := client.Package(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	needs := []hex.Dependency{{Package: "recon", Requirement: "~> 2.5", App: "recon", Repository: "acme"}}
	want := []hex.Release{
		{Version: "0.9.0", Dependencies: needs, Retired: &hex.Retirement{Reason: hex.RetiredSecurity, Message: "use 1.0.0"}},
		{Version: "1.0.0", Dependencies: needs},
	}
	for i, release := range p.Releases {
		if len(release.InnerChecksum) != 32 || len(release.OuterChecksum) != 32 {
			t.Fatalf("checksums of %v", release)
		}
		want[i].InnerChecksum, want[i].OuterChecksum = release.InnerChecksum, release.OuterChecksum
	}
	if diff := cmp.Diff(hex.Package{Repository: "acme", Name: "tiny", Releases: want}, p); diff != "" {
		t.Error(diff)
	}
	if s := p.Releases[0].Retired.String(); s != `security: "use 1.0.0"` {
		t.Error(s)
	}
	_, err = p.Release("2.0.0")
	if !errors.Is(err, hex.ErrNoVersion) || !strings.Contains(err.Error(), "the newest is 1.0.0") {
		t.Error(err)
	}
}

// Every fault is its own error, and heals.
func TestFaults(t *testing.T) {
	r, client := registry(t)
	client.Cache = ""
	p, err := client.Package(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	outer := p.Releases[1].OuterChecksum
	for name, c := range map[string]struct {
		fault             hextest.Fault
		resource, tarball error
	}{
		"wrong key":        {hextest.WrongKey, hex.ErrSignature, nil},
		"unsigned":         {hextest.Unsigned, hex.ErrSignature, nil},
		"flipped resource": {hextest.FlipResource, hex.ErrSignature, nil},
		"wrong repository": {hextest.WrongRepository, hex.ErrRepository, nil},
		"wrong name":       {hextest.WrongName, hex.ErrPackage, nil},
		"flipped tarball":  {hextest.FlipTarball, nil, hex.ErrChecksum},
		"truncated":        {hextest.Truncate, hex.ErrUnreachable, hex.ErrUnreachable},
		"oversized":        {hextest.Oversized, hex.ErrTooLarge, hex.ErrTooLarge},
		"unavailable":      {hextest.Unavailable, hex.ErrUnreachable, hex.ErrUnreachable},
		"no etag":          {hextest.NoETag, nil, nil},
		"healed":           {hextest.None, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.Break(c.fault)
			got, err := client.Resource(t.Context(), "tiny")
			only(t, err, c.resource)
			if err != nil && (got.Raw != nil || got.Package.Name != "") {
				t.Errorf("%v beside %v", got, err)
			}
			raw, err := client.Tarball(t.Context(), "tiny", "1.0.0", outer)
			only(t, err, c.tarball)
			if err != nil && raw != nil {
				t.Errorf("%d bytes beside %v", len(raw), err)
			}
		})
	}
}

// only fails unless err is want and none of the other sentinels.
func only(t *testing.T, err, want error) {
	t.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		t.Fatalf("got %v instead of %v", err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "tiny")) {
		t.Errorf("%q is not one line that names the package", err)
	}
	for _, other := range []error{
		hex.ErrUnreachable, hex.ErrDenied, hex.ErrNotFound, hex.ErrNoVersion, hex.ErrSignature, hex.ErrRepository,
		hex.ErrPackage, hex.ErrChecksum, hex.ErrTooLarge, hex.ErrMalformed, hex.ErrUnsafe,
	} {
		if !errors.Is(other, want) && errors.Is(err, other) {
			t.Errorf("%v is also %v", err, other)
		}
	}
}

func TestMissing(t *testing.T) {
	r, client := registry(t)
	ctx := t.Context()
	if _, err := client.Package(ctx, "nothing"); !errors.Is(err, hex.ErrNotFound) {
		t.Error(err)
	}
	_, err := client.Tarball(ctx, "tiny", "3.0.0", make([]byte, 32))
	only(t, err, hex.ErrNoVersion)
	for _, name := range []string{"", "../x", "a/b", "a%2fb", "1a", "ä", "a b", strings.Repeat("a", 200)} {
		if _, err := client.Package(ctx, name); !errors.Is(err, hex.ErrPackage) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, version := range []string{"", "1.0", "../1.0.0", "1.0.0/../..", "1.0.0-?"} {
		if _, err := client.Tarball(ctx, "tiny", version, make([]byte, 32)); !errors.Is(err, hex.ErrMalformed) {
			t.Errorf("%q: %v", version, err)
		}
	}
	if _, err := client.Tarball(ctx, "tiny", "1.0.0", nil); !errors.Is(err, hex.ErrChecksum) {
		t.Error(err)
	}
	if err := r.Misstate("tiny", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	p, err := client.Package(ctx, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Tarball(ctx, "tiny", "1.0.0", p.Releases[1].OuterChecksum); !errors.Is(err, hex.ErrChecksum) {
		t.Error(err)
	}
	r.Close()
	if _, err := client.Package(ctx, "tiny"); !errors.Is(err, hex.ErrUnreachable) {
		t.Error(err)
	}
	client.PublicKey = nil
	if _, err := client.Package(ctx, "tiny"); !errors.Is(err, hex.ErrSignature) {
		t.Error(err)
	}
}

// A tarball that says it is another package is refused even where its
// checksum was signed.
func TestMislabelled(t *testing.T) {
	r, client := registry(t)
	other := hextest.Package{Name: "other", Version: "1.0.0", Files: fstest.MapFS{}}
	tarball, err := other.Tarball()
	if err != nil {
		t.Fatal(err)
	}
	outer := r.PublishAs("tiny", "2.0.0", tarball)
	if _, err := client.Tarball(t.Context(), "tiny", "2.0.0", outer); !errors.Is(err, hex.ErrPackage) {
		t.Error(err)
	}
}

func TestToken(t *testing.T) {
	r, client := registry(t)
	const token = "s3cret-token"
	r.RequireToken(token)
	_, err := client.Package(t.Context(), "tiny")
	if !errors.Is(err, hex.ErrDenied) {
		t.Fatal(err)
	}
	client.AuthToken = app.NewSecret(token)
	if _, err := client.Package(t.Context(), "tiny"); err != nil {
		t.Fatal(err)
	}
	client.URL = "http://packages.invalid"
	if _, err := client.Package(t.Context(), "tiny"); !errors.Is(err, hex.ErrDenied) || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}

// A redirect to another host is followed without the token.
func TestRedirect(t *testing.T) {
	r, client := registry(t)
	var seen []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen = append(seen, req.Header.Get("Authorization"))
		r.ServeHTTP(w, req)
	}))
	defer elsewhere.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen = append(seen, req.Header.Get("Authorization"))
		http.Redirect(w, req, elsewhere.URL+req.URL.Path, http.StatusFound)
	}))
	defer front.Close()
	client.URL, client.AuthToken = front.URL, app.NewSecret("s3cret")
	if _, err := client.Package(t.Context(), "tiny"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"s3cret", ""}, seen); diff != "" {
		t.Error(diff)
	}
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, req.URL.Path, http.StatusFound)
	}))
	defer loop.Close()
	client.URL = loop.URL
	if _, err := client.Package(t.Context(), "tiny"); !errors.Is(err, hex.ErrUnreachable) {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	r, client := registry(t)
	ctx := t.Context()
	fetch := func() {
		t.Helper()
		p, err := client.Package(ctx, "tiny")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Tarball(ctx, "tiny", "1.0.0", p.Releases[1].OuterChecksum); err != nil {
			t.Fatal(err)
		}
	}
	fetch()
	fetch()
	want := []string{"200 /packages/tiny", "200 /tarballs/tiny-1.0.0.tar", "304 /packages/tiny"}
	if diff := cmp.Diff(want, r.Requests()); diff != "" {
		t.Error(diff)
	}
	// What changed in the registry is seen at once.
	publish(t, r, "1.1.0")
	fetch()
	// Bytes that changed on disk are not believed.
	files, err := filepath.Glob(filepath.Join(client.Cache, "*", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := client.Cached("tiny"); ok {
		t.Error("a changed file was believed")
	}
	fetch()
	want = []string{"200 /packages/tiny", "200 /packages/tiny", "200 /tarballs/tiny-1.0.0.tar"}
	if diff := cmp.Diff(want, r.Requests()[3:]); diff != "" {
		t.Error(diff)
	}
	r.Close()
	res, ok := client.Cached("tiny")
	if !ok || len(res.Package.Releases) != 3 {
		t.Errorf("cached: %v %v", ok, res.Package)
	}
	if _, err := client.Tarball(ctx, "tiny", "1.0.0", res.Package.Releases[1].OuterChecksum); err != nil {
		t.Error(err)
	}
	// Another repository does not share it, nor does another key believe it.
	foreign := *client
	foreign.Name = "hexpm"
	if _, ok := foreign.Cached("tiny"); ok {
		t.Error("another repository's answer was used")
	}
}

func TestCancel(t *testing.T) {
	_, client := registry(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Package(ctx, "tiny"); !errors.Is(err, context.Canceled) || !errors.Is(err, hex.ErrUnreachable) {
		t.Error(err)
	}
}

func TestNewest(t *testing.T) {
	p := hex.Package{Name: "x"}
	for _, v := range []string{"1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "1.11.0", "bad"} {
		p.Releases = append(p.Releases, hex.Release{Version: v})
	}
	i := slices.IndexFunc(p.Releases, func(r hex.Release) bool { return r.Version == "1.11.0" })
	p.Releases[i].Retired = &hex.Retirement{}
	for requirement, want := range map[string]string{
		"~> 1.0": "1.10.0", ">= 0.0.0": "1.10.0", "~> 1.0.0": "1.0.0", "~> 2.0": "", "~> 2.0-rc": "2.0.0-rc.1", "== 1.11.0": "",
	} {
		r, err := hex.ParseRequirement(requirement)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Newest(r); got.Version != want || ok != (want != "") {
			t.Errorf("%s: %q", requirement, got.Version)
		}
	}
}
