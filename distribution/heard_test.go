package distribution

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
)

// taken plays a gateway that a guest has taken over: it says what it likes.
type taken struct {
	node  protocol.Node // what it answers to a set
	need  []netip.AddrPort
	said  []byte
	reply protocol.Response // to a call
}

// names are what it tells of, beside pulse: ways out of the folder of records,
// and an app that nobody knows.
func names() []string {
	return []string{"../../x", "../x", "/x", "x/../../x", "..", "", ".new-1", "stranger", "A", strings.Repeat("a", 65), "x\x00"}
}

func (p *taken) serve(ln *net.UnixListener) {
	for {
		c, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		go p.answer(c)
	}
}

func (p *taken) answer(c *net.UnixConn) {
	defer c.Close()
	var req protocol.Request
	if _, err := protocol.Read(c, &req); err != nil {
		return
	}
	resp := protocol.Response{}
	switch req.Op {
	case protocol.OpEvents:
		_ = protocol.Write(c, protocol.Response{Hello: &protocol.Hello{Version: protocol.Version, Pid: 1}})
		for _, name := range append(names(), "pulse") {
			_ = protocol.Write(c, protocol.Event{Kind: recordEvent, Name: name})
			_ = protocol.Write(c, protocol.Event{Kind: "up", Name: name, Node: "pulse@vm", Detail: "a\nb\x1b[31m" + strings.Repeat("x", 1<<14)})
		}
		_ = protocol.Write(c, protocol.Event{Kind: "up", Name: "pulse", Node: "other@vm"})
		_ = protocol.Write(c, protocol.Event{Kind: "restarted", Name: "pulse", Node: "pulse@vm"})
		_ = protocol.Write(c, protocol.Event{Kind: "down", Name: "pulse", Node: "pulse@vm"})
		_, _ = c.Read(make([]byte, 1)) // until the follower goes
		return
	case protocol.OpList:
		for _, name := range names() {
			resp.Nodes = append(resp.Nodes, protocol.Node{Name: name, Node: "pulse@vm"})
		}
		resp.Nodes = append(resp.Nodes, p.node, protocol.Node{Name: "pulse", Node: "no node"}, protocol.Node{Name: "pulse", Node: "other@vm"})
	case protocol.OpSet:
		if resp.Node = &p.node; len(req.Sockets) == 0 && p.need != nil {
			resp.Node, resp.Need = nil, p.need
		}
	case protocol.OpRecord:
		resp.Record, resp.Said = []byte(`{"atoms":{}}`), p.said
	case protocol.OpCall:
		resp = p.reply
	}
	_ = protocol.Write(c, resp)
}

// room is that of a gateway which was taken over, with pulse as its member.
func (p *taken) room(t *testing.T, said func(app.Name, []byte)) *Gateway {
	t.Helper()
	dir := folder(t)
	if p.node.Name == "" {
		p.node.Name, p.node.Node = "pulse", "pulse@vm"
	}
	go p.serve(listenAt(t, dir))
	g, err := Start(t.Context(), Config{Binary: program(t), RunDir: dir, Records: filepath.Join(dir, "a", "b", "records"), Said: said})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	if _, err := g.Ensure(t.Context(), Member{Name: "pulse", Node: "pulse@vm"}); err != nil {
		t.Fatal(err)
	}
	return g
}

// written are all files below the room's folder, its log aside.
func written(t *testing.T, g *Gateway) (files []string) {
	t.Helper()
	err := filepath.Walk(g.cfg.RunDir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			files = append(files, strings.TrimPrefix(path, g.cfg.RunDir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNamesFromTheGatewayLeadNowhere(t *testing.T) {
	said := make(chan string, 64)
	p := &taken{said: make([]byte, 1<<20)}
	g := p.room(t, func(name app.Name, text []byte) {
		if len(text) > maxSaid {
			t.Errorf("%d bytes are said", len(text))
		}
		said <- string(name)
	})
	eventually(t, "the record of pulse is kept", func() bool { return g.readRecord("pulse") != nil })
	for _, name := range names() {
		g.recordChanged(app.Name(name), 0)
		if name == "stranger" { // a good name, of which something may be kept
			continue
		}
		if err := g.writeRecord(app.Name(name), []byte("{}")); err == nil || g.readRecord(app.Name(name)) != nil {
			t.Errorf("%q is written", name)
		}
		if err := g.Lift(t.Context(), app.Name(name)); err == nil {
			t.Errorf("%q is lifted", name)
		}
		if _, err := g.Ensure(t.Context(), Member{Name: app.Name(name), Node: "pulse@vm"}); err == nil {
			t.Errorf("%q is a member", name)
		}
	}
	for len(said) > 0 {
		if name := <-said; name != "pulse" {
			t.Errorf("%q said something", name)
		}
	}
	for _, file := range written(t, g) {
		if file != "a/b/records/pulse" {
			t.Errorf("written was %s", file)
		}
	}
}

// Strangers of a good name are kept nothing of, until they are members.
func TestStrangersHaveNoRecords(t *testing.T) {
	g := (&taken{}).room(t, nil)
	g.recordChanged("stranger", 0)
	eventually(t, "the record of pulse is kept", func() bool { return g.readRecord("pulse") != nil })
	if name, _, _ := g.ledger.next(time.Now().Add(time.Hour)); name == "stranger" || g.readRecord("stranger") != nil {
		t.Error("a stranger's record is kept")
	}
	if err := g.writeRecord("stranger", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if g.recordChanged("stranger", 0); g.readRecord("stranger") == nil {
		t.Error("a guest of which something is kept is a stranger")
	}
}

func TestWhatTheGatewayTellsIsBounded(t *testing.T) {
	long := "a\n\x1b[31m\xff" + strings.Repeat("x", 1<<13)
	many := map[string]uint64{long: 1, "a\nb": 2, "name": 3}
	for i := range 1000 {
		many[strings.Repeat("r", i%60+1)+string(rune('a'+i/60))] = 1
	}
	n := protocol.Node{Name: "pulse", Node: "pulse@vm", Error: long, Refused: many, Mode: "harmless", Quarantine: &protocol.Quarantine{Rule: long, Build: long}}
	for range 100 {
		n.Recent = append(n.Recent, protocol.Refusal{Rule: long, Op: long, To: long, Message: long})
	}
	g := (&taken{node: n}).room(t, nil)
	all, err := g.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "stranger" || all[1].Name != "pulse" || all[1].Node != "pulse@vm" {
		t.Fatalf("%d members, %v", len(all), err)
	}
	got := all[1]
	texts := []string{got.Error, got.Quarantine.Rule, got.Quarantine.Build}
	for _, r := range got.Recent {
		texts = append(texts, r.Rule, r.Op, r.To, r.Message)
	}
	for _, text := range texts {
		if len(text) > maxLine+4 || strings.ContainsAny(text, "\n\x1b") {
			t.Fatalf("a text of %d bytes passed: %.20q", len(text), text)
		}
	}
	if len(got.Recent) > maxRecent || len(got.Refused) > maxCounters || got.Mode != "trusted" {
		t.Errorf("%d refusals, %d counters, mode %s", len(got.Recent), len(got.Refused), got.Mode)
	}
}

func TestEventsThatCannotBeAreNotTold(t *testing.T) {
	g := (&taken{}).room(t, nil)
	var got []string
	for ev, err := range g.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(ev.Detail) > maxLine+4 || strings.ContainsAny(ev.Detail, "\n\x1b") {
			t.Errorf("detail of %d bytes", len(ev.Detail))
		}
		got = append(got, string(ev.Kind)+" "+string(ev.Name)+" "+ev.Node)
		if ev.Kind == Down {
			break
		}
	}
	if want := "up stranger pulse@vm, up pulse pulse@vm, down pulse pulse@vm"; strings.Join(got, ", ") != want {
		t.Errorf("told are %v", got)
	}
}

func TestGatewayMayNotAnswerOfOthersNorAskForTheirSockets(t *testing.T) {
	p := &taken{}
	g := p.room(t, nil)
	own := netip.MustParseAddrPort("127.0.0.1:4369")
	m := Member{Name: "pulse", Node: "pulse@vm", EPMD: own, Host: netip.MustParseAddrPort("127.0.0.1:9100")}
	p.node = protocol.Node{Name: "other", Node: "pulse@vm"}
	if _, err := g.Ensure(t.Context(), m); err == nil || !strings.Contains(err.Error(), "of another one") {
		t.Errorf("another member: %v", err)
	}
	for _, need := range [][]netip.AddrPort{{netip.MustParseAddrPort("127.0.0.1:22")}, {own, own}} {
		p.need = need
		if _, err := g.Ensure(t.Context(), m); err == nil || !strings.Contains(err.Error(), "not the member's") {
			t.Errorf("sockets %v: %v", need, err)
		}
	}
}

func TestAnswersOfGuestsAreBounded(t *testing.T) {
	p := &taken{}
	g := p.room(t, nil)
	many := append([]byte{131, 108, 0, 4, 0, 0}, strings.Repeat("j", 1<<18+1)...) // 2^18 times []
	p.reply = protocol.Response{Result: many}
	if _, err := g.Call(t.Context(), "pulse", "m", "f"); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("many terms: %v", err)
	}
	p.reply = protocol.Response{Error: "a\n" + strings.Repeat("x", 1<<14)}
	if _, err := g.Call(t.Context(), "pulse", "m", "f"); err == nil || len(err.Error()) > 2*maxLine || strings.Contains(err.Error(), "\n") {
		t.Error("a reason of any length passes")
	}
}

// TestWatchEndsWithItsContext: also where that ended before the stream of events
// began, while the gateway answers as it should.
func TestWatchEndsWithItsContext(t *testing.T) {
	g := (&taken{}).room(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ev, err := range g.Watch(ctx) {
			t.Errorf("%+v, %v", ev, err)
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}
