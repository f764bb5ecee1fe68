//go:build integration

package integration

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	version "github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestSurroundingsMissingTool: a program that is missing is named while
// sandboxd answers, and is used once it is there. Guests that run need none.
func TestSurroundingsMissingTool(t *testing.T) {
	p := newPlace(t, "tool")
	p.ownBin()
	p.up()
	p.ask(map[string]string{"counter": p.counter("")})
	for _, program := range []string{"sandbox-gateway", "runc"} {
		back := p.without(program)
		if p.daemon == nil {
			p.serve()
		} else {
			p.restart()
		}
		p.shows("error", program)
		back()
		if program == "runc" {
			break
		}
		must(t, p.daemon.Await(within(t, 20*time.Second), "sandboxd has its parts", func(h status.Host) bool { return h.Error == "" }))
		must(t, p.daemon.Stop(20*time.Second))
	}
	p.healthy("counter")
	guest := p.pid("counter")
	must(t, p.daemon.Stop(20*time.Second))

	// Without Erlang and rebar3 nothing can be built; what runs goes on.
	back := p.without("rebar3")
	tools := p.pathWithout("erl", "rebar3")
	p.Env = []string{"PATH=" + tools}
	p.restart()
	must(t, p.daemon.AwaitHealthy(within(t, 20*time.Second), "counter"))
	p.ask(map[string]string{"counter": p.counter(""), "pulse": p.pulse(18104)})
	p.sync()
	p.shows("pulse", "find erl on PATH")
	erl, err := exec.LookPath("erl")
	must(t, err)
	must(t, os.Symlink(erl, filepath.Join(tools, "erl")))
	p.shows("pulse", "rebar3")
	back()
	p.healthy("counter", "pulse")
	p.same("counter", guest)
}

// pathWithout is a folder with every program of the machine but some.
func (p *place) pathWithout(programs ...string) string {
	p.t.Helper()
	dir := p.Path("tools")
	must(p.t, os.MkdirAll(dir, 0o755))
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue // PATH may name what is not there
		}
		for _, e := range entries {
			to := filepath.Join(dir, e.Name())
			if _, err := os.Lstat(to); err != nil && !slices.Contains(programs, e.Name()) {
				must(p.t, os.Symlink(filepath.Join(from, e.Name()), to))
			}
		}
	}
	return dir
}

// oldContainerd answers one question, as a containerd of that version would.
type oldContainerd struct {
	version.UnimplementedVersionServer
}

func (oldContainerd) Version(context.Context, *emptypb.Empty) (*version.VersionResponse, error) {
	return &version.VersionResponse{Version: "1.5.0", Revision: "old"}, nil
}

// TestSurroundingsContainerdVersion: the machine's containerd that is not
// there, or too old, is named; one that fits is used once it is there.
func TestSurroundingsContainerdVersion(t *testing.T) {
	p := newPlace(t, "vers")
	sock := filepath.Join(p.RunDir, "machine.sock")
	o := p.options()
	o.Extra = []term.Term{term.Tuple{term.Atom("containerd"), term.Binary(sock)}}
	must(t, p.WriteConfig(o))
	p.restart()
	p.shows("error", sock, "no such socket")

	l, err := net.Listen("unix", sock)
	must(t, err)
	s := grpc.NewServer()
	version.RegisterVersionServer(s, oldContainerd{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	p.shows("error", sock, "version 1.5.0 is not supported")
	s.Stop()
	must(t, <-served)

	config := p.Path("machine.toml")
	must(t, os.WriteFile(config, []byte(strings.Join([]string{"version = 4",
		"root = '" + p.Path("machine-root") + "'", "state = '" + p.Path("machine-state") + "'",
		"disabled_plugins = ['io.containerd.cri.v1.runtime', 'io.containerd.cri.v1.images', 'io.containerd.grpc.v1.cri']",
		"[plugins.'io.containerd.server.v1.grpc']", "address = '" + sock + "'",
		"[plugins.'io.containerd.server.v1.ttrpc']", "address = '" + sock + ".ttrpc'", ""}, "\n")), 0o600))
	_, err = p.Start("machine-containerd", exec.Command(filepath.Join(p.Bin, "containerd"), "--config", config))
	must(t, err)
	must(t, p.daemon.Await(within(t, 40*time.Second), "the machine's containerd is used", func(h status.Host) bool {
		return h.Error == "" && strings.HasPrefix(h.Containerd, "2.")
	}))
	must(t, p.daemon.Stop(20*time.Second))
}

// TestSurroundingsNoEPMD: without a port mapper sandboxd says so and runs
// guests; they join when there is one.
func TestSurroundingsNoEPMD(t *testing.T) {
	p := newPlace(t, "epmd")
	if !w.OwnsEPMD() {
		t.Fatal("the machine's port mapper is not ours to stop: end it, so that the tests start their own")
	}
	must(t, w.host.Stop())
	must(t, w.StopEPMD())
	defer func() { // the shared world goes on as it was
		must(t, w.StartEPMD(within(t, 10*time.Second)))
		host, err := w.StartHost(within(t, 20*time.Second), "demo_web")
		must(t, err)
		w.host = host
	}()
	p.ask(map[string]string{"counter": p.counter("")})
	p.serve()
	p.shows("host ", "epmd", "4369")
	p.shows("counter", "joining", "epmd 127.0.0.1:4369")
	guest := p.pid("counter")
	must(t, w.StartEPMD(within(t, 10*time.Second)))
	p.up()
	p.healthy("counter")
	p.same("counter", guest)
}
