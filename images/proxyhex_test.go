package images

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
)

// hexProxy serves one package of a registry as a builder would see it.
func hexProxy(t *testing.T) (*proxy, *hextest.Registry, *httptest.Server) {
	t.Helper()
	registry, err := hextest.New("hexpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	if _, err := registry.Publish(hextest.Package{Name: "thing", Version: "1.0.0", Files: fstest.MapFS{"a": {Data: []byte("b")}}}); err != nil {
		t.Fatal(err)
	}
	hexes, err := openHexes([]HexRepository{{Name: "hexpm", URL: registry.URL, PublicKey: registry.Repository().PublicKey}}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{name: "top", log: &bytes.Buffer{}, allowed: map[string]bool{}, hexes: hexes}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, registry, server
}

func fetchFrom(t *testing.T, url, etag string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", etag)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, body
}

func TestProxyServesHex(t *testing.T) {
	p, registry, server := hexProxy(t)
	status, header, raw := fetchFrom(t, server.URL+"/hex/hexpm/packages/thing", "")
	if _, err := registry.Repository().Verify(raw, "thing"); status != http.StatusOK || err != nil {
		t.Fatalf("package: %d, %v; want what the registry signed", status, err)
	}
	if status, _, _ := fetchFrom(t, server.URL+"/hex/hexpm/packages/thing", header.Get("ETag")); status != http.StatusNotModified {
		t.Errorf("the same once more: %d, want 304", status)
	}
	status, header, raw = fetchFrom(t, server.URL+"/hex/hexpm/tarballs/thing-1.0.0.tar", "")
	if status != http.StatusOK || header.Get("ETag") == "" {
		t.Fatalf("tarball: %d, ETag %q", status, header.Get("ETag"))
	}
	got := p.resolved()
	if len(got) != 1 || len(got[0].Checksum) != 64 {
		t.Fatalf("resolved %+v", got)
	}
	if _, err := hex.Open(raw, p.hexes[0].mustFind(t, "thing", "1.0.0").OuterChecksum); err != nil {
		t.Error(err)
	}
	got[0].Checksum = ""
	if d := cmp.Diff([]Dependency{{Kind: "hex", Name: "thing", Repository: "hexpm", Version: "1.0.0", URL: registry.URL + "/tarballs/thing-1.0.0.tar"}}, got); d != "" {
		t.Error(d)
	}
}

func (r hexRegistry) mustFind(t *testing.T, name, version string) hex.Release {
	t.Helper()
	release, err := r.find(t.Context(), name, version)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestProxyRefusesHex(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		reason string
	}{
		"/hex/acme/packages/thing":                        {http.StatusForbidden, "it asked for hex repository acme: it is not configured"},
		"/hex/hexpm/repos/acme/packages/thing":            {http.StatusForbidden, "it asked for hex repository hexpm:acme: it is not configured"},
		"/hex/hexpm/names":                                {http.StatusForbidden, "it asked for the address /hex/hexpm/names"},
		"/hex/hexpm/packages/other":                       {http.StatusNotFound, "end; there is no package other of hex repository hexpm"},
		"/hex/hexpm/tarballs/thing-9.9.9.tar":             {http.StatusBadGateway, "the package has no such version"},
		"/hex/hexpm/tarballs/thing.tar":                   {http.StatusForbidden, "it asked for the tarball thing"},
		"/hex/hexpm/packages/..%2f..%2fetc":               {http.StatusBadGateway, "the package name is wrong"},
		"/hex/hexpm/installs/hex-1.x.csv":                 {http.StatusNotFound, "end"},
		"/hex/hexpm/packages/" + strings.Repeat("x", 129): {http.StatusBadGateway, "it could not get package xxx"},
	} {
		p, _, server := hexProxy(t)
		status, _, body := fetchFrom(t, server.URL+path, "")
		if got := p.trouble("end"); status != want.status || !strings.Contains(got, want.reason) {
			t.Errorf("GET %s = %d %q, trouble %q; want %d, %q", path, status, body, got, want.status, want.reason)
		}
	}
}

func TestProxyBoundsPackages(t *testing.T) {
	p := &proxy{}
	for n := range maxPackages + 1 {
		if got, want := p.counted(strings.Repeat("x", n)), n < maxPackages; got != want {
			t.Fatalf("package %d may be asked for: %v", n, got)
		}
	}
	if !p.counted("x") {
		t.Error("a package that was asked for may not be asked for again")
	}
}

func TestOpenHexesRefuses(t *testing.T) {
	_, registry, _ := hexProxy(t)
	key := registry.Repository().PublicKey
	for name, all := range map[string][]HexRepository{
		"name":  {{Name: "../x", PublicKey: key}},
		"twice": {{Name: "a", PublicKey: key}, {Name: "a", PublicKey: key}},
		"key":   {{Name: "a"}},
	} {
		if _, err := openHexes(all, ""); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
