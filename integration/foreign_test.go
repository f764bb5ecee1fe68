//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"beamsandbox/images"
	"beamsandbox/reconcile/status"
)

// TestForeignImage: an image with an Erlang release that is not known to be
// one of ours, started by its own entrypoint, is a guest like any other: it
// gets its name, its cookie and the walls without knowing of them.
func TestForeignImage(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	before := w.daemon.App(t.Context(), "pulse")
	archive := w.Path("pulse.tar")
	_, err := w.Ctl("image", "export", "pulse", archive)
	must(t, err)
	defer os.Remove(archive)
	own, err := tarball.ImageFromPath(archive, nil)
	must(t, err)
	address := pushImage(t, "other/pulse", disowned(t, own))
	w.have(t, map[string]string{"pulse": sourceOf(w.pulseConfig("pulse", "memory_limit => 128", 18085), address)})
	must(t, w.daemon.Await(within(t, 2*time.Minute), "the new image runs", func(h status.Host) bool {
		a := appOf(h, "pulse")
		return strings.HasSuffix(address, a.Revision) && a.Pid != before.Pid && a.Phase == status.Healthy
	}))
	waitForBeat(t, "pulse", "1.0.0")
	out, err := w.Ctl("image", "inspect", "pulse", "-o", "json")
	must(t, err)
	var detail status.ImageDetail
	must(t, json.Unmarshal([]byte(out), &detail))
	if len(detail.Entry) == 0 || !strings.HasSuffix(detail.Entry[0], "/erlexec") || detail.Release != "" {
		t.Errorf("inspect shows entry %q, release %q", detail.Entry, detail.Release)
	}
}

// disowned is an image of ours without what says how it starts, but with an
// entrypoint that does the same.
func disowned(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	config, err := image.ConfigFile()
	must(t, err)
	config = config.DeepCopy()
	var r images.Release
	must(t, json.Unmarshal([]byte(config.Config.Labels["beamsandbox.release"]), &r))
	config.Config.Labels = nil
	bin := r.Root + "/erts-" + r.ERTS + "/bin"
	config.Config.Env = []string{"ROOTDIR=" + r.Root, "BINDIR=" + bin, "EMU=beam", "PROGNAME=erl"}
	config.Config.Entrypoint = []string{bin + "/erlexec", "-noinput", "-boot_var", "ERTS_LIB_DIR", r.Root + "/lib"}
	config.Config.Cmd = []string{"-boot", r.Root + "/releases/" + r.Version + "/start"}
	image, err = mutate.ConfigFile(image, config)
	must(t, err)
	return image
}

// sourceOf is an app.config whose source is an image.
func sourceOf(config, address string) string {
	before, rest, _ := strings.Cut(config, "source => ")
	_, after, _ := strings.Cut(rest, "},")
	return before + `source => #{type => image, url => <<"` + address + `">>},` + after
}

// pushImage serves an OCI registry over HTTP and pushes an image to it; the
// image's address, by digest.
func pushImage(t *testing.T, repo string, image v1.Image) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	base := server.URL + "/v2/" + repo
	layers, err := image.Layers()
	must(t, err)
	for _, l := range layers {
		digest, err := l.Digest()
		must(t, err)
		blob, err := l.Compressed()
		must(t, err)
		upload(t, http.MethodPost, base+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", blob)
	}
	config, err := image.RawConfigFile()
	must(t, err)
	digest, err := image.ConfigName()
	must(t, err)
	upload(t, http.MethodPost, base+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", bytes.NewReader(config))
	manifest, err := image.RawManifest()
	must(t, err)
	kind, err := image.MediaType()
	must(t, err)
	upload(t, http.MethodPut, base+"/manifests/1.0.0", string(kind), bytes.NewReader(manifest))
	digest, err = image.Digest()
	must(t, err)
	return strings.TrimPrefix(server.URL, "http://") + "/" + repo + "@" + digest.String()
}

func upload(t *testing.T, method, to, kind string, body io.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, body)
	must(t, err)
	req.Header.Set("Content-Type", kind)
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, to, res.Status)
	}
}
