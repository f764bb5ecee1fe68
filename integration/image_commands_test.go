//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/status"
)

// imagesPlace is a place for one image, of application wave, and what an
// operator does with it.
type imagesPlace struct {
	hexPlace
	gate   chan struct{} // closed: the registry of packages hands out tarballs
	source string
	digest string // of the image, once there is one
}

// newImagesPlace has a source that depends on a package which the registry
// holds back until the gate is open: a build waits there.
func newImagesPlace(t *testing.T) *imagesPlace {
	t.Helper()
	p := &imagesPlace{gate: make(chan struct{})}
	packages, err := hextest.New("hexpm")
	must(t, err)
	t.Cleanup(packages.Close)
	_, err = packages.Publish(hextest.Package{Name: "ripple", Version: "1.2.3", Files: fstest.MapFS{
		"src/ripple.app.src": {Data: []byte(`{application, ripple, [{description, "r"}, {vsn, "1.2.3"}, {applications, [kernel, stdlib]}]}.`)},
		"src/ripple.erl":     {Data: []byte("-module(ripple).\n-export([say/0]).\nsay() -> ripple.\n")},
	}})
	must(t, err)
	gated := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/tarballs/") {
			select {
			case <-p.gate:
			case <-req.Context().Done():
			}
		}
		packages.ServeHTTP(out, req)
	}))
	t.Cleanup(gated.Close)
	packages.URL = gated.URL
	p.source = filepath.Join(t.TempDir(), "wave")
	must(t, os.CopyFS(p.source, fstest.MapFS{
		"rebar.config":     {Data: []byte("{deps, [{ripple, \"1.2.3\"}]}.\n{relx, [{release, {wave, \"1.0.0\"}, [wave]}, {mode, prod}]}.\n")},
		"src/wave.app.src": {Data: []byte(`{application, wave, [{description, "w"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib, ripple]}]}.`)},
	}))
	p.hexPlace = newHexPlace(t, "images", packages)
	return p
}

// TestImageCommands walks one image through all that sandboxctl can do with
// it, at a real sandboxd: built, looked at, pushed to a registry, run, pruned,
// pulled, exported and imported, it is the same to the byte.
func TestImageCommands(t *testing.T) {
	p := newImagesPlace(t)
	r := newOCIRegistry(t)
	must(t, p.daemon.Await(within(t, 2*time.Minute), "sandboxd has started", func(h status.Host) bool { return h.Settled }))
	p.ctl("image", "prune") // what other places left
	p.build()
	p.look()
	address := r.host + "/team/wave"
	p.ctl("image", "push", "wave", address+":1")
	r.wantPushed(t, "team/wave", "1", p.digest)

	config := fmt.Sprintf(`#{name => wave, version => <<"1.0.0">>, isolation => vm, source => #{type => image, url => <<"%s@%s">>}}.`, address, p.digest)
	p.run(config)
	p.ctl("image", "prune")
	p.wantImage("current", true)
	p.rest()
	if out := p.ctl("image", "prune"); !strings.HasPrefix(out, "removed ") || strings.HasPrefix(out, "removed 0 ") {
		t.Errorf("prune: %s", out)
	}
	p.wantNone()

	before := r.blobs.Load()
	p.wantSame(p.ctl("image", "pull", address+"@"+p.digest))
	if n := r.blobs.Load() - before; n == 0 {
		t.Error("the pull took no blob out of the registry")
	}
	p.wantImage("pulled", false)
	archive := filepath.Join(t.TempDir(), "wave.tar")
	p.ctl("image", "export", p.digest[7:19], archive)
	p.ctl("image", "prune")
	p.wantNone()
	r.Close()
	p.wantSame(p.ctl("image", "import", archive))
	p.wantImage("pulled", false)
	p.run(config) // without the registry
	p.rest()
}

// ctl is sandboxctl on a place where it must work.
func (p *place) ctl(args ...string) string {
	p.t.Helper()
	out, err := p.Ctl(args...)
	must(p.t, err)
	return out
}

// build has the source built, and reads what is printed meanwhile: the step in
// which the packages are fetched while they are held back, then all of them.
func (p *imagesPlace) build() {
	t := p.t
	t.Helper()
	waits := false
	out, lines := p.stream(func(line string) {
		if waits || !strings.HasPrefix(line, "resolve | ") {
			return
		}
		waits = true
		if all := p.list(); slices.ContainsFunc(all, func(i status.Image) bool { return i.App == "wave" }) {
			t.Errorf("there is an image before the build has its dependencies: %+v", all)
		}
		close(p.gate)
	}, "image", "build", p.source)
	if !waits {
		close(p.gate)
		t.Errorf("the build printed nothing while it waited for its dependencies")
	}
	p.digest, _, _ = strings.Cut(out, " ")
	var steps []string
	for _, l := range lines {
		step, _, _ := strings.Cut(l, " ")
		steps = append(steps, step)
	}
	if got := slices.Compact(steps); !inOrder(got, "fetch", "resolve", "compile", "release", "check", "pack") {
		t.Errorf("the build went through %v", got)
	}
	text := strings.Join(lines, "\n") + "\n"
	if kept := p.ctl("logs", "--build", "wave"); kept != text {
		t.Errorf("logs --build has\n%s\nthe build printed\n%s", kept, text)
	}
	if !strings.Contains(text, "\npack    | beamsandbox: built: ") {
		t.Errorf("the log does not tell how the build ended:\n%s", text)
	}
}

// inOrder reports whether words appear in this order, others between them.
func inOrder(all []string, words ...string) bool {
	for _, word := range words {
		i := slices.Index(all, word)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// stream runs sandboxctl and hands on every line of its standard error while
// it runs; it returns what it printed, and all the lines.
func (p *place) stream(heard func(line string), args ...string) (out string, lines []string) {
	p.t.Helper()
	cmd := exec.CommandContext(within(p.t, 5*time.Minute), filepath.Join(p.Bin, "sandboxctl"), append([]string{"--socket", p.Socket()}, args...)...)
	var printed bytes.Buffer
	cmd.Stdout = &printed
	diagnostics, err := cmd.StderrPipe()
	must(p.t, err)
	must(p.t, cmd.Start())
	s := bufio.NewScanner(diagnostics)
	for s.Scan() {
		lines = append(lines, s.Text())
		heard(s.Text())
	}
	if err := errors.Join(s.Err(), cmd.Wait()); err != nil {
		p.t.Fatalf("sandboxctl %v: %v\n%s", args, err, strings.Join(lines, "\n"))
	}
	return printed.String(), lines
}

// list is image ls, as programs see it.
func (p *place) list() (all []status.Image) {
	p.t.Helper()
	must(p.t, json.Unmarshal([]byte(p.ctl("image", "ls", "-o", "json")), &all))
	return all
}

// look reads what ls and inspect say of the image that was built.
func (p *imagesPlace) look() {
	t := p.t
	t.Helper()
	p.wantImage("current", false)
	var d status.ImageDetail
	must(t, json.Unmarshal([]byte(p.ctl("image", "inspect", "wave", "-o", "json")), &d))
	sum := ""
	for _, r := range d.Resolved {
		if r.Kind == "hex" && r.Name == "ripple" && r.Version == "1.2.3" && r.Repository == "hexpm" {
			sum = r.Checksum
		}
	}
	if d.Digest != p.digest || d.Release != "wave 1.0.0" || len(d.Layers) < 3 || !slices.Contains(d.Applications, "ripple-1.2.3") || len(sum) != 64 {
		t.Errorf("inspect -o json: %+v", d)
	}
	if out := p.ctl("image", "inspect", p.digest[7:19]); !strings.Contains(out, "\nresolved  ripple 1.2.3 from hexpm, sha256 "+sum+"\n") {
		t.Errorf("inspect:\n%s", out)
	}
	if out := p.ctl("image", "inspect", "--sbom", "wave"); !strings.Contains(out, `"SPDX-2.3"`) || !strings.Contains(out, "pkg:hex/ripple@1.2.3") {
		t.Errorf("inspect --sbom:\n%s", out)
	}
}

// wantImage checks that ls has the image as one of a kind.
func (p *imagesPlace) wantImage(kind string, running bool) {
	p.t.Helper()
	all := p.list()
	if !slices.ContainsFunc(all, func(i status.Image) bool { return i.Digest == p.digest && i.Kind == kind && i.Running == running }) {
		p.t.Errorf("no image %s of kind %s, running %v, among %+v", p.digest, kind, running, all)
	}
	for l := range strings.Lines(p.ctl("image", "ls")) {
		if holdsAll(l, []string{kind, p.digest[7:19]}) {
			return
		}
	}
	p.t.Errorf("ls has no line with %s and %s:\n%s", kind, p.digest[7:19], p.ctl("image", "ls"))
}

func (p *imagesPlace) wantNone() {
	p.t.Helper()
	if all := p.list(); slices.ContainsFunc(all, func(i status.Image) bool { return i.Digest == p.digest }) {
		p.t.Errorf("image %s is still there: %+v", p.digest, all)
	}
	if out, err := p.Ctl("image", "inspect", p.digest); err == nil {
		p.t.Errorf("inspect finds what was pruned:\n%s", out)
	}
}

// wantSame checks what a command printed: the image's own digest.
func (p *imagesPlace) wantSame(out string) {
	p.t.Helper()
	if !strings.HasPrefix(out, p.digest+"  ") {
		p.t.Errorf("printed %q, want %s", out, p.digest)
	}
}

// run has the image run as a guest.
func (p *imagesPlace) run(config string) {
	p.t.Helper()
	p.write("wave", config)
	p.commit("Ask for the image")
	must(p.t, p.daemon.AwaitHealthy(within(p.t, 3*time.Minute), "wave"))
	if a := p.daemon.App(p.t.Context(), "wave"); a.Revision != p.digest || !a.Linked {
		p.t.Errorf("it runs %s, linked %v", a.Revision, a.Linked)
	}
	p.wantImage("current", true)
}

// rest removes the guest again.
func (p *imagesPlace) rest() {
	p.t.Helper()
	must(p.t, p.gitops.Write("apps/wave", nil))
	p.commit("Ask for nothing")
	must(p.t, p.daemon.AwaitHealthy(within(p.t, 2*time.Minute)))
}

// ociRegistry is an OCI registry on this machine.
type ociRegistry struct {
	*httptest.Server
	host  string
	blobs atomic.Int64 // that were taken out
}

func newOCIRegistry(t *testing.T) *ociRegistry {
	t.Helper()
	r := &ociRegistry{}
	keep := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	r.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
			r.blobs.Add(1)
		}
		keep.ServeHTTP(out, req)
	}))
	t.Cleanup(r.Close)
	r.host = strings.TrimPrefix(r.URL, "http://")
	return r
}

// wantPushed asks the registry for a tag, and for what refers to it
// (distribution-spec, "Listing Referrers"): the bill of materials.
func (r *ociRegistry) wantPushed(t *testing.T, repo, tag, digest string) {
	t.Helper()
	res, _ := r.get(t, repo+"/manifests/"+tag)
	if got := res.Header.Get("Docker-Content-Digest"); got != digest {
		t.Errorf("the registry has %s as %s, want %s", tag, got, digest)
	}
	var index struct{ Manifests []struct{ Digest string } }
	_, body := r.get(t, repo+"/referrers/"+digest)
	if err := json.Unmarshal([]byte(body), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("what refers to the image: %s, %v", body, err)
	}
	if _, body := r.get(t, repo+"/manifests/"+index.Manifests[0].Digest); !strings.Contains(body, "application/spdx+json") {
		t.Errorf("what refers to the image is no bill of materials: %s", body)
	}
}

func (r *ociRegistry) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	res, err := r.Client().Get(r.URL + "/v2/" + path)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return res, string(body)
}
