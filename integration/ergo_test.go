//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestErgo: an image that nobody here knows, with an entrypoint of its own,
// comes out of a registry by digest and runs behind the walls. It is no BEAM:
// the program is a node written in Go. It joins the host VM, answers its
// calls through the gateway, and joins again when the link or the guest ends.
func TestErgo(t *testing.T) {
	image := pushImage(t, "team/hello", onlyProgram(t, buildErgo(t)))
	t.Cleanup(func() {
		if t.Failed() && w.daemon != nil {
			log, err := w.Ctl("logs", "hello")
			t.Log("the guest wrote:\n", log, err)
		}
	})
	w.start(t)
	w.push(t, map[string]string{"hello": fmt.Sprintf(`#{name => hello, version => <<"1.0.0">>, isolation => vm,
  source => #{type => image, url => <<"%s">>}, vm_config => #{memory_limit => 128}}.`, image)})
	awaitHello(t, "the guest is healthy", func(status.App) bool { return true })
	a := w.daemon.App(t.Context(), "hello")
	if !strings.HasSuffix(image, a.Revision) || !a.Linked || a.Messages != "" {
		t.Errorf("runs %s, linked %v, messages %q; want %s in enforce", a.Revision, a.Linked, a.Messages, image)
	}
	wantHello(t)
	own, err := w.GuestCookie("hello")
	must(t, err)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", a.Pid))
	must(t, err)
	if !bytes.Contains(environ, []byte("BEAMSANDBOX_NODE="+w.Node("hello"))) || bytes.Contains(environ, []byte(own)) {
		t.Errorf("its environment names no node, or holds its cookie: %q", environ)
	}

	if out, err := w.Ctl("doctor", "hello"); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	_, err = w.Ctl("cookie", "rotate", "hello")
	must(t, err)
	if now, err := w.GuestCookie("hello"); err != nil || now == own {
		t.Errorf("its cookie was not rotated: %v", err)
	}
	mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node("hello")))
	awaitHello(t, "the guest is linked again", func(b status.App) bool { return b.Pid == a.Pid })
	wantHello(t)
	must(t, exec.Command("kill", "-9", fmt.Sprint(a.Pid)).Run())
	awaitHello(t, "the guest was started again", func(b status.App) bool { return b.Pid != 0 && b.Pid != a.Pid })
	wantHello(t)
}

func awaitHello(t *testing.T, what string, ok func(status.App) bool) {
	t.Helper()
	must(t, w.daemon.Await(within(t, 2*time.Minute), what, func(h status.Host) bool {
		a := appOf(h, "hello")
		return ok(a) && a.Linked && a.Phase == status.Healthy
	}))
}

// wantHello has the host VM ping the guest and call it, as Erlang code would.
func wantHello(t *testing.T) {
	t.Helper()
	node := term.Atom(w.Node("hello"))
	if pong := mustHost(t, "net_adm", "ping", node); pong != term.Term(term.Atom("pong")) {
		t.Errorf("net_adm:ping: %v", pong)
	}
	for _, question := range []term.Term{term.Binary("bob"), term.Map{{Key: term.Atom("a"), Value: term.Int(300)}}} {
		got := mustHost(t, "gen_server", "call", term.Tuple{term.Atom("hello"), node}, question)
		want := term.Tuple{term.Atom("hello"), question, term.Binary("from a node in Go")}
		if !term.Equal(got, want) {
			t.Errorf("gen_server:call answered %s, want %s", term.Format(got), term.Format(want))
		}
	}
}

// buildErgo tests and builds examples/apps/ergo-hello, a module of its own.
func buildErgo(t *testing.T) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hello")
	for _, args := range [][]string{{"test", "."}, {"build", "-trimpath", "-ldflags", "-s -w", "-o", program, "."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = "../examples/apps/ergo-hello", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}
	data, err := os.ReadFile(program)
	must(t, err)
	return data
}

// onlyProgram is an image that holds one static program and nothing else.
func onlyProgram(t *testing.T, program []byte) v1.Image {
	t.Helper()
	var layer bytes.Buffer
	out := tar.NewWriter(&layer)
	must(t, out.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(program))}))
	_, err := out.Write(program)
	must(t, err)
	must(t, out.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	must(t, err)
	image, err := mutate.AppendLayers(empty.Image, l)
	must(t, err)
	config, err := image.ConfigFile()
	must(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/hello"}
	image, err = mutate.ConfigFile(image, config)
	must(t, err)
	return image
}
