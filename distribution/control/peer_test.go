package control

import (
	"context"
	"net"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// fakePeer is the other node, in memory: the test reads and writes its
// messages one by one.
type fakePeer struct {
	t    *testing.T
	conn net.Conn
	id   wire.Identity // how it presents itself
	seen wire.Identity // who dialed
	pid  term.Pid
}

var peerID = wire.Identity{Name: "demo_web@vm", Flags: wire.OwnFlags | wire.Published, Creation: 77}

// connect is a Config whose connections end at a fresh fakePeer each, handed
// out by the channel once the handshake is done.
func connect(t *testing.T, id wire.Identity, cookie string) (Config, chan *fakePeer) {
	peers := make(chan *fakePeer, 8)
	open := func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		p := &fakePeer{t: t, conn: far, id: id, pid: term.Pid{Node: term.Atom(id.Name), ID: 9, Creation: id.Creation}}
		go func() {
			seen, err := wire.Accept(far, id, app.NewSecret(cookie), 1, nil)
			if err != nil {
				far.Close()
				return
			}
			p.seen = seen
			peers <- p
		}()
		return near, nil
	}
	cfg := Config{Name: "sandboxd@vm", Peer: "demo_web@vm", Cookie: app.NewSecret("secret-cookie"), Connect: open}
	return cfg, peers
}

// pair is a Node and its fakePeer, connected.
func pair(t *testing.T) (*Node, *fakePeer) {
	t.Helper()
	cfg, peers := connect(t, peerID, "secret-cookie")
	n, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, <-peers
}

// read takes the next message that is no tick.
func (p *fakePeer) read() (wire.Control, term.Term) {
	p.t.Helper()
	for {
		frame, err := wire.ReadFrame(p.conn, nil, 0)
		if err != nil {
			p.t.Errorf("peer reads: %v", err)
			return wire.Control{}, nil
		}
		if len(frame) == 0 {
			continue
		}
		c, payload, err := wire.SplitFrame(frame)
		if err != nil {
			p.t.Errorf("peer reads: %v", err)
		}
		if payload == nil {
			return c, nil
		}
		message, _, err := term.Decode(payload)
		if err != nil {
			p.t.Errorf("peer reads: %v", err)
		}
		return c, message
	}
}

// write sends a message; nil stands for no payload.
func (p *fakePeer) write(control term.Tuple, message term.Term) {
	p.t.Helper()
	var frame []byte
	var err error
	if message == nil {
		frame, err = wire.AppendFrame(nil, control, nil)
	} else {
		frame, err = wire.AppendMessage(nil, control, message)
	}
	if err != nil {
		p.t.Error(err)
		return
	}
	p.writeRaw(frame)
}

func (p *fakePeer) writeRaw(frame []byte) {
	p.t.Helper()
	if err := wire.WriteFrame(p.conn, frame); err != nil {
		p.t.Errorf("peer writes: %v", err)
	}
}

// request reads a monitor and the request behind it.
func (p *fakePeer) request() (from term.Pid, ref term.Ref, message term.Tuple) {
	p.t.Helper()
	monitor, _ := p.read()
	if monitor.Op != wire.OpMonitor {
		p.t.Errorf("request begins with %s", monitor.Op)
	}
	send, payload := p.read()
	if send.Op != wire.OpRegSend || !term.Equal(send.To(), monitor.To()) {
		p.t.Errorf("request is %v after %v", send.Tuple, monitor.Tuple)
	}
	call, ok := payload.(term.Tuple)
	if !ok || len(call) != 3 {
		p.t.Fatalf("request is %v", payload)
	}
	caller := call[1].(term.Tuple)
	return caller[0].(term.Pid), caller[1].(term.Ref), call[2].(term.Tuple)
}

// answer sends {Ref, value} and reads the end of the monitor.
func (p *fakePeer) answer(to term.Pid, ref term.Ref, value term.Term) {
	p.t.Helper()
	p.write(term.Tuple{term.Int(wire.OpSend), term.Atom(""), to}, term.Tuple{ref, value})
	if c, _ := p.read(); c.Op != wire.OpDemonitor {
		p.t.Errorf("after the answer came %s", c.Op)
	}
}
