package distribution

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
)

// teller plays a gateway that has news of pulse for every follower.
type teller struct {
	mu    sync.Mutex
	given string // what came back with a lift
}

func (p *teller) serve(ln *net.UnixListener) {
	for {
		c, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		go p.answer(c)
	}
}

func (p *teller) answer(c *net.UnixConn) {
	defer c.Close()
	var req protocol.Request
	if _, err := protocol.Read(c, &req); err != nil {
		return
	}
	switch req.Op {
	case protocol.OpEvents:
		_ = protocol.Write(c, protocol.Response{Hello: &protocol.Hello{Version: protocol.Version, Pid: 1}})
		_ = protocol.Write(c, protocol.Event{Kind: recordEvent, Name: "pulse"})
		_, _ = c.Read(make([]byte, 1)) // until the follower goes
	case protocol.OpSet:
		_ = protocol.Write(c, protocol.Response{Node: &protocol.Node{Name: req.Name, Node: req.Member.Node}})
	case protocol.OpList:
		_ = protocol.Write(c, protocol.Response{})
	case protocol.OpRecord:
		_ = protocol.Write(c, protocol.Response{Record: []byte(`{"atoms":{"a":true}}`), Said: []byte("hello\n")})
	case protocol.OpLift:
		p.mu.Lock()
		p.given = string(req.Member.Record)
		p.mu.Unlock()
		_ = protocol.Write(c, protocol.Response{Record: []byte(`{"atoms":{}}`)})
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); pause(t.Context(), time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func TestRecordsAreKept(t *testing.T) {
	dir, records := folder(t), filepath.Join(t.TempDir(), "records")
	p := new(teller)
	go p.serve(listenAt(t, dir))
	if err := os.MkdirAll(records, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(records, ".new-1"), []byte("{"), 0o600); err != nil { // of a daemon that was killed
		t.Fatal(err)
	}
	said := make(chan string, 16)
	g, err := Start(t.Context(), Config{Binary: program(t), RunDir: dir, Records: records, Said: func(n app.Name, text []byte) { said <- string(n) + ": " + string(text) }})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Ensure(t.Context(), Member{Name: "pulse", Node: "pulse@vm"}); err != nil {
		t.Fatal(err)
	}
	if text := <-said; text != "pulse: hello\n" {
		t.Errorf("said %q", text)
	}
	kept := func() string { return string(g.readRecord("pulse")) }
	eventually(t, "the record is kept", func() bool { return kept() == `{"atoms":{"a":true}}` })
	if m := g.travel(Member{Name: "pulse"}); string(m.Record) != kept() {
		t.Errorf("the gateway is given %q", m.Record)
	}
	if err := g.Lift(t.Context(), "pulse"); err != nil || kept() != `{"atoms":{}}` || p.given != `{"atoms":{"a":true}}` {
		t.Errorf("lifted: %v, kept %s, given %s", err, kept(), p.given)
	}
	entries, err := os.ReadDir(records)
	if err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOldRecordsGo(t *testing.T) {
	g := &Gateway{cfg: Config{Records: t.TempDir()}}
	for i := range maxRecords + 3 {
		path := filepath.Join(g.cfg.Records, fmt.Sprintf("app%d", i))
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_800_000_000+int64(i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	g.dropOldRecords()
	entries, err := os.ReadDir(g.cfg.Records)
	if err != nil || len(entries) != maxRecords {
		t.Fatalf("%d are left, %v", len(entries), err)
	}
	if len(g.readRecord("app2")) != 0 || len(g.readRecord("app3")) == 0 {
		t.Error("not the oldest went")
	}
}

func TestRecordTooLargeIsNotKept(t *testing.T) {
	g := &Gateway{cfg: Config{Records: t.TempDir()}}
	err := g.writeRecord("pulse", make([]byte, maxRecord+1))
	if err == nil || !strings.Contains(err.Error(), "at most") || g.readRecord("pulse") != nil {
		t.Errorf("%v", err)
	}
}
