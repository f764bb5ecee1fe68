// Package hextest is a Hex repository for tests: it makes keys, packages and
// signed resources, serves them over real HTTP, and lies when asked to.
package hextest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	hexrepo "beamsandbox/images/hex"
	"beamsandbox/reconcile/app"
)

// A Fault is one way in which a registry's answers are wrong.
type Fault int

const (
	None            Fault = iota
	WrongKey              // resources are signed with another key
	WrongRepository       // resources say that they are another repository's
	WrongName             // resources say that they are about another package
	Unsigned              // resources have no signature
	FlipResource          // one byte of each signed payload is flipped
	FlipTarball           // one byte of each tarball is flipped
	Truncate              // answers end before their Content-Length
	Oversized             // answers go on beyond every limit
	Unavailable           // every answer is 503
	NoETag                // answers carry no ETag
)

// A Registry serves the endpoint of one repository on loopback. Its methods
// may be called from many goroutines.
type Registry struct {
	Name string // what its answers call it
	URL  string // its address, without final slash

	key    *rsa.PrivateKey
	other  func() (*rsa.PrivateKey, error) // made when it is first needed
	server *httptest.Server

	mu       sync.Mutex
	fault    Fault
	token    string
	packages map[string]*hexrepo.Package
	tarballs map[string][]byte // by "NAME-VERSION.tar"
	requests []string
}

// New starts a registry without packages; Close ends it.
func New(name string) (*Registry, error) {
	r := &Registry{Name: name, packages: map[string]*hexrepo.Package{}, tarballs: map[string][]byte{}}
	r.other = sync.OnceValues(newKey)
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	r.key = key
	r.server = httptest.NewServer(r)
	r.URL = r.server.URL
	return r, nil
}

func newKey() (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make registry key: %w", err)
	}
	return key, nil
}

// Close ends the server: from then on the registry is unreachable.
func (r *Registry) Close() { r.server.Close() }

// Repository is a client of the registry, without cache.
func (r *Registry) Repository() *hexrepo.Repository {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &hexrepo.Repository{Name: r.Name, URL: r.URL, PublicKey: &r.key.PublicKey, AuthToken: app.NewSecret(r.token)}
}

// PublicKey is the registry's key in PEM.
func (r *Registry) PublicKey() ([]byte, error) { return publicPEM(&r.key.PublicKey) }

// OtherKey is a key in PEM that the registry does not sign with.
func (r *Registry) OtherKey() ([]byte, error) {
	key, err := r.other()
	if err != nil {
		return nil, err
	}
	return publicPEM(&key.PublicKey)
}

func publicPEM(key *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("write public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Break makes every answer from now on wrong in one way; None heals it.
func (r *Registry) Break(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// RequireToken answers 401 to requests without token from now on.
func (r *Registry) RequireToken(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = token
}

// Requests is what was asked for so far: "304 /packages/recon", in order.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Publish makes a package out of p and adds it as a release; outer is the
// SHA-256 of its tarball.
func (r *Registry) Publish(p Package) (outer []byte, err error) {
	tarball, err := p.Tarball()
	if err != nil {
		return nil, err
	}
	return r.add(p.Name, p.Version, p.Requirements, tarball), nil
}

// PublishTarball adds a tarball that exists already, under the name, version
// and requirements of its own metadata.
func (r *Registry) PublishTarball(tarball []byte) (hexrepo.Metadata, error) {
	sum := sha256.Sum256(tarball)
	a, err := hexrepo.Open(tarball, sum[:])
	if err != nil {
		return hexrepo.Metadata{}, err
	}
	r.add(a.Metadata.Name, a.Metadata.Version, a.Metadata.Requirements, tarball)
	return a.Metadata, nil
}

// PublishAs adds any bytes as the tarball of a release, correctly signed.
func (r *Registry) PublishAs(name, version string, tarball []byte) (outer []byte) {
	return r.add(name, version, nil, tarball)
}

func (r *Registry) add(name, version string, needs []hexrepo.Dependency, tarball []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.packages[name]
	if p == nil {
		p = &hexrepo.Package{Repository: r.Name, Name: name}
		r.packages[name] = p
	}
	outer := sha256.Sum256(tarball)
	inner := innerOf(tarball)
	p.Releases = append(p.Releases, hexrepo.Release{
		Version: version, InnerChecksum: inner, OuterChecksum: outer[:], Dependencies: needs,
	})
	r.tarballs[name+"-"+version+".tar"] = tarball
	return outer[:]
}

// innerOf is the inner checksum of a tarball, or of nothing if it is none.
func innerOf(tarball []byte) []byte {
	sum := sha256.Sum256(tarball)
	if a, err := hexrepo.Open(tarball, sum[:]); err == nil {
		return a.Inner
	}
	empty := sha256.Sum256(nil)
	return empty[:]
}

// Retire marks a release as retired.
func (r *Registry) Retire(name, version string, why hexrepo.Retirement) error {
	return r.change(name, version, func(release *hexrepo.Release) { release.Retired = &why })
}

// Misstate makes the registry sign another outer checksum for a release than
// its tarball's.
func (r *Registry) Misstate(name, version string) error {
	return r.change(name, version, func(release *hexrepo.Release) { release.OuterChecksum = make([]byte, sha256.Size) })
}

func (r *Registry) change(name, version string, do func(*hexrepo.Release)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.packages[name]; p != nil {
		for i := range p.Releases {
			if p.Releases[i].Version == version {
				do(&p.Releases[i])
				return nil
			}
		}
	}
	return fmt.Errorf("change release %s %s: it was never published", name, version)
}

// Remove takes a release's tarball away and leaves it in the registry.
func (r *Registry) Remove(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tarballs, name+"-"+version+".tar")
}

// ServeHTTP answers /packages/NAME, /tarballs/NAME-VERSION.tar and /public_key.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	status, body := r.answer(req)
	fault := r.fault
	tag := ""
	if status == http.StatusOK && fault != NoETag {
		sum := sha256.Sum256(body)
		tag = `"` + hex.EncodeToString(sum[:16]) + `"`
		if req.Header.Get("If-None-Match") == tag {
			status, body = http.StatusNotModified, nil
		}
	}
	r.requests = append(r.requests, fmt.Sprintf("%d %s", status, req.URL.Path))
	r.mu.Unlock()
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if fault == Truncate && len(body) > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the client may have gone
	for n := 0; fault == Oversized && n <= hexrepo.MaxTarball; n += len(body) + 1 {
		body = make([]byte, 1<<20)
		if _, err := w.Write(body); err != nil {
			return
		}
	}
}

// answer is status and body for one request; r.mu is held.
func (r *Registry) answer(req *http.Request) (int, []byte) {
	if r.fault == Unavailable {
		return http.StatusServiceUnavailable, []byte("out of order\n")
	}
	if r.token != "" && req.Header.Get("Authorization") != r.token {
		return http.StatusUnauthorized, []byte("a token is needed\n")
	}
	if name, ok := strings.CutPrefix(req.URL.Path, "/packages/"); ok && r.packages[name] != nil {
		body, err := r.resource(*r.packages[name])
		if err != nil {
			return http.StatusInternalServerError, []byte(err.Error())
		}
		return http.StatusOK, body
	}
	if name, ok := strings.CutPrefix(req.URL.Path, "/tarballs/"); ok && r.tarballs[name] != nil {
		return http.StatusOK, r.tarball(r.tarballs[name])
	}
	if key, err := r.PublicKey(); req.URL.Path == "/public_key" && err == nil {
		return http.StatusOK, key
	}
	return http.StatusNotFound, []byte("not found\n")
}

func (r *Registry) tarball(b []byte) []byte {
	if r.fault != FlipTarball {
		return b
	}
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func (r *Registry) resource(p hexrepo.Package) ([]byte, error) {
	key := r.key
	switch r.fault {
	case WrongKey:
		other, err := r.other()
		if err != nil {
			return nil, err
		}
		key = other
	case WrongRepository:
		p.Repository = "elsewhere"
	case WrongName:
		p.Name = "another"
	}
	payload := Payload(p)
	signature, err := Sign(key, payload)
	if err != nil {
		return nil, err
	}
	switch r.fault {
	case Unsigned:
		signature = nil
	case FlipResource:
		payload[len(payload)/2] ^= 1
	}
	return Signed(payload, signature), nil
}
