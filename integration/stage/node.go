package stage

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

//go:embed demo_web.erl
var hostModule []byte

// EPMD is where the machine's port mapper listens.
const EPMD = "127.0.0.1:4369"

// StartEPMD starts a port mapper unless one answers already.
func (s *Stage) StartEPMD(ctx context.Context) error {
	if answers(EPMD) {
		return nil
	}
	if _, err := s.Start("epmd", exec.Command("epmd")); err != nil {
		return err
	}
	return Until(ctx, "epmd answers on "+EPMD, func() bool { return answers(EPMD) })
}

// OwnsEPMD reports whether the port mapper that answers is the stage's own.
func (s *Stage) OwnsEPMD() bool { return s.epmd() != nil }

// StopEPMD ends the stage's port mapper.
func (s *Stage) StopEPMD() error {
	if p := s.epmd(); p != nil {
		return p.Stop(5 * time.Second)
	}
	return errors.New("stop epmd: it is not the stage's own")
}

func (s *Stage) epmd() *Proc {
	for _, p := range s.procs {
		if p.Name == "epmd" && p.Running() {
			return p
		}
	}
	return nil
}

func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// Host is a host BEAM node and our hidden connection to it.
type Host struct {
	*Proc
	Name string // "demo_web@myhost"
	rpc  *control.Host
}

// StartHost starts a host BEAM called name. Its process demo_web is a member
// of the group that examples/apps/pulse speaks to, and prints what it hears.
func (s *Stage) StartHost(ctx context.Context, name string) (*Host, error) {
	return s.StartHostOn(ctx, name, []string{"erl"}, nil)
}

// StartHostOn is StartHost with another command than erl, and variables that
// it needs.
func (s *Stage) StartHostOn(ctx context.Context, name string, erl, env []string) (*Host, error) {
	home := s.Path("host-" + name)
	if err := errors.Join(os.MkdirAll(home, 0o700), writeFile(filepath.Join(home, ".erlang.cookie"), []byte(s.Cookie), 0o400),
		writeFile(filepath.Join(home, "demo_web.erl"), hostModule, 0o600)); err != nil {
		return nil, err
	}
	if out, err := run(home, "erlc", "demo_web.erl"); err != nil {
		return nil, fmt.Errorf("compile the host's module: %w: %s", err, out)
	}
	args := append(slices.Clone(erl[1:]), "-noinput", "-sname", name, "-pa", home, "-s", "demo_web", "start")
	cmd := exec.Command(erl[0], args...)
	cmd.Env = append(append(os.Environ(), "HOME="+home), env...)
	p, err := s.Start("host-"+name, cmd)
	if err != nil {
		return nil, err
	}
	h := &Host{Proc: p, Name: s.Node(name)}
	h.rpc = control.NewHost(control.Config{Name: s.Node("stage_" + name), Cookie: app.NewSecret(s.Cookie), Peer: h.Name, Secure: s.Secure})
	return h, Until(ctx, h.Name+" answers", func() bool {
		_, err := h.Call(ctx, "erlang", "node")
		return err == nil
	})
}

// Call is rpc:call on the host VM.
func (h *Host) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	return h.rpc.Call(ctx, module, function, args...)
}

// Nodes is erlang:nodes() on the host VM.
func (h *Host) Nodes(ctx context.Context) ([]string, error) {
	t, err := h.Call(ctx, "erlang", "nodes")
	if err != nil {
		return nil, err
	}
	list, _ := t.(term.List)
	var nodes []string
	for _, n := range list.Elems {
		a, _ := n.(term.Atom)
		nodes = append(nodes, string(a))
	}
	return nodes, nil
}

// Stop ends the connection, then the node.
func (h *Host) Stop() error {
	h.rpc.Close()
	return h.Proc.Stop(15 * time.Second)
}

// writeFile replaces path, whatever its mode was.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, data, mode)
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
