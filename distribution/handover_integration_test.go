//go:build integration

package distribution

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
)

// install puts the gateway's program in place anew, as a package does, with
// some bytes more behind it.
func (r *room) install(tail string) {
	r.t.Helper()
	program, err := os.ReadFile(r.cfg.Binary)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.cfg.Binary+".new", append(program, tail...), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.cfg.Binary+".new", r.cfg.Binary); err != nil {
		r.t.Fatal(err)
	}
}

// linked is a room whose member's guest and host VM, two BEAMs, are linked.
func (r *room) linked(ctx context.Context, name string) (*Gateway, Member) {
	r.t.Helper()
	r.mapper()
	g := r.start()
	next, stop := iter.Pull2(g.Watch(ctx))
	defer stop()
	r.beam("gwroomhost", "cluster-cookie", r.cfg.EPMD)
	r.wait("the host VM is registered", func() bool {
		_, err := epmd.Lookup(ctx, r.cfg.EPMD, "gwroomhost")
		return err == nil
	})
	m := r.member(name)
	if _, err := g.Ensure(ctx, m); err != nil {
		r.t.Fatal(err)
	}
	r.guest(m)
	expect(r.t, next, Registered)
	if v, err := g.Call(ctx, m.Name, "net_adm", "ping", term.Atom(m.HostNode)); err != nil || v != term.Atom("pong") {
		r.t.Fatalf("guest pings host: %v, %v", v, err)
	}
	expect(r.t, next, Up)
	return g, m
}

// TestNewerGatewayTakesOver: a program that was installed anew serves the
// guests when the room starts, and their links do not notice.
func TestNewerGatewayTakesOver(t *testing.T) {
	r := newRoom(t)
	var log bytes.Buffer
	r.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, m := r.linked(ctx, "gwnewer")
	pid, before := r.pid(g), r.only(g)

	r.install("")
	g.Close()
	if g = r.start(); r.pid(g) != pid {
		t.Errorf("the same program in another file is taken for another one:\n%s", &log)
	}
	for i := range 3 {
		r.install(fmt.Sprint("newer ", i))
		g.Close()
		g = r.start()
		now := r.pid(g)
		if now == pid {
			t.Fatalf("the older program serves on:\n%s", &log)
		}
		pid = now
		r.confined(pid)
		if n := r.only(g); !n.Up || !n.Registered || !n.Since.Equal(before.Since) || n.Port != before.Port {
			t.Errorf("the member was %+v, is %+v", before, n)
		}
		if v, err := g.Call(ctx, m.Name, "erlang", "nodes"); err != nil || term.Format(v) != fmt.Sprintf("[%s]", term.Format(term.Atom(m.HostNode))) {
			t.Errorf("the guest's nodes are %v, %v", v, err)
		}
		if v, err := g.Call(ctx, m.Name, "net_adm", "ping", term.Atom(m.HostNode)); err != nil || v != term.Atom("pong") {
			t.Errorf("guest pings host: %v, %v", v, err)
		}
	}
	if _, err := g.Ensure(ctx, m); err != nil || r.opened.Load() != 2 {
		t.Errorf("ensure after all: %v, %d sockets were opened", err, r.opened.Load())
	}
	r.ends(g, m)
}

// only is the one member that there is.
func (r *room) only(g *Gateway) Node {
	r.t.Helper()
	nodes, err := g.List(r.t.Context())
	if err != nil || len(nodes) != 1 {
		r.t.Fatalf("list: %+v, %v", nodes, err)
	}
	return nodes[0]
}

// ends removes the member and wants the gateway gone, and those before it.
func (r *room) ends(g *Gateway, m Member) {
	r.t.Helper()
	ctx := r.t.Context()
	if err := g.Remove(ctx, m.Name); err != nil {
		r.t.Error(err)
	}
	g.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := g.Quit(ctx); err != nil {
		r.t.Error(err)
	}
	r.wait("no process of the gateways is left", func() bool { return len(r.gateways()) == 0 })
}

// gateways are the processes of this room's gateways.
func (r *room) gateways() (pids []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && bytes.HasPrefix(line, []byte(r.cfg.Binary+"\x00")) {
			pids = append(pids, e.Name())
		}
	}
	return pids
}

// TestGatewayThatTakesNothingOver: a newer program that does not start, or
// cannot go on with what it is told, cuts no link.
func TestGatewayThatTakesNothingOver(t *testing.T) {
	r := newRoom(t)
	var log bytes.Buffer
	r.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, m := r.linked(ctx, "gwrefused")
	pid, before := r.pid(g), r.only(g)
	good := r.cfg.Binary
	if err := os.WriteFile(good+".broken", []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.cfg.Binary = good + ".broken"
	g.Close()
	g = r.start()
	r.cfg.Binary = good
	if now := r.pid(g); now != pid || !strings.Contains(log.String(), "could not take over") {
		t.Errorf("pid %d was %d, log:\n%s", now, pid, &log)
	}
	if n := r.only(g); !n.Up || !n.Since.Equal(before.Since) {
		t.Errorf("the member was %+v, is %+v", before, n)
	}
	if v, err := g.Call(ctx, m.Name, "net_adm", "ping", term.Atom(m.HostNode)); err != nil || v != term.Atom("pong") {
		t.Errorf("guest pings host: %v, %v", v, err)
	}
	r.ends(g, m)
}

// TestRoomThatDiesDuringTheHandOver: the next one finds the gateway that took
// over, which answers beside its place still.
func TestRoomThatDiesDuringTheHandOver(t *testing.T) {
	r := newRoom(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, m := r.linked(ctx, "gwhalf")
	before := r.only(g)
	r.install("newer")
	g.Close()
	elder, heir, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.spawn(g.next(), heir); err != nil {
		t.Fatal(err)
	}
	heir.Close()
	if _, err := protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpHandOver}, elder); err != nil {
		t.Fatal(err)
	}
	elder.Close()
	g = r.start() // as after a crash
	if n := r.only(g); !n.Up || !n.Since.Equal(before.Since) {
		t.Errorf("the member was %+v, is %+v", before, n)
	}
	r.ends(g, m)
}

// TestOlderGatewayThatServesNobodyEnds when a newer program is there.
func TestOlderGatewayThatServesNobodyEnds(t *testing.T) {
	r := newRoom(t)
	g := r.start()
	pid := r.pid(g)
	r.install("newer")
	g.Close()
	g = r.start()
	if r.pid(g) == pid {
		t.Error("the older program serves on")
	}
	if err := syscall.Kill(pid, 0); err == nil {
		r.wait("the older program ends", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	if c, err := net.Dial("unix", g.next()); err == nil {
		c.Close()
		t.Error("a gateway waits to take over")
	}
}
