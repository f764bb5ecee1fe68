package control

import (
	"errors"
	"fmt"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// noproc is what we answer about every process except our own one.
const noproc = term.Atom("noproc")

// take handles one frame. An error is a peer that breaks the protocol and
// ends the connection; what we merely do not serve is answered so that nobody
// waits, or dropped.
func (n *Node) take(frame []byte) error {
	if len(frame) == 0 {
		return nil // a tick
	}
	c, payload, err := wire.SplitFrame(frame)
	if err != nil {
		return fmt.Errorf("take message: %w", err)
	}
	switch c.Op {
	case wire.OpSend, wire.OpSendSender, wire.OpSendTT, wire.OpSendSenderTT:
		n.takeSend(c, payload)
		return nil
	case wire.OpRegSend, wire.OpRegSendTT:
		return n.takeRegSend(c, payload)
	case wire.OpMonitorExit, wire.OpPayloadMonitorExit:
		return n.takeMonitorExit(c, payload)
	case wire.OpMonitor:
		return n.takeMonitor(c)
	case wire.OpLink:
		return n.answerExit(c)
	case wire.OpUnlinkID: // {36, Id, From, To}: the roles are swapped
		return n.answer(term.Tuple{term.Int(wire.OpUnlinkIDAck), c.Tuple[1], c.To(), c.From()}, nil)
	case wire.OpSpawnRequest, wire.OpSpawnRequestTT: // we never said that we can
		ref, _ := c.Ref()
		return n.answer(term.Tuple{term.Int(wire.OpSpawnReply), ref, c.From(), term.Int(0), term.Atom("notsup")}, nil)
	}
	n.cfg.Log.Debug("drop message", "node", n.peer.Name, "op", c.Op.String())
	return nil
}

// wants reports whether somebody waits for a frame that begins with head.
func (n *Node) wants(head []byte) (bool, error) {
	c, payload, err := wire.SplitFrame(head)
	if err != nil {
		return false, fmt.Errorf("take message: of its first %d bytes: %w", len(head), err)
	}
	_, ok := n.question(c, payload)
	return ok, nil
}

// question is the call that waits for this message, by no more than the
// beginning of payload. What belongs to no call is not decoded at all: who we
// call may send whatever he likes.
func (n *Node) question(c wire.Control, payload []byte) (ref term.Ref, waits bool) {
	switch c.Op {
	case wire.OpSend, wire.OpSendSender, wire.OpSendTT, wire.OpSendSenderTT:
		if to, ok := c.ToPid(); !ok || to != n.pid {
			return term.Ref{}, false
		}
		ref, waits = answerRef(payload)
	case wire.OpMonitorExit, wire.OpPayloadMonitorExit:
		ref, waits = c.Ref()
	}
	return ref, waits && n.waits(ref)
}

// takeSend takes an answer {Ref, Reply} to our process. We send no alias, so
// nothing that is sent to one is an answer.
func (n *Node) takeSend(c wire.Control, payload []byte) {
	ref, ok := n.question(c, payload)
	if !ok {
		return
	}
	message, err := n.decode(payload, n.cfg.Limits.Nodes)
	if err != nil {
		n.deliver(ref, reply{err: fmt.Errorf("read the answer: %w", err)})
		return
	}
	n.deliver(ref, reply{value: message.(term.Tuple)[1]})
}

// decode reads one term within Limits, when its turn has come.
func (n *Node) decode(payload []byte, nodes int) (term.Term, error) {
	n.turns <- struct{}{}
	defer func() { <-n.turns }()
	t, rest, err := term.Limits{Depth: n.cfg.Limits.Depth, Nodes: nodes}.Decode(payload)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes follow the answer", len(rest))
	}
	return t, err
}

// answerRef is Ref of an encoded {Ref, Reply}: 131, 104, 2, Ref, … It is read
// alone, so that a call can be told when its Reply is beyond the limits.
func answerRef(payload []byte) (term.Ref, bool) {
	const smallTuple, newReference, newerReference = 104, 114, 90
	if len(payload) < 4 || payload[1] != smallTuple || payload[2] != 2 {
		return term.Ref{}, false
	}
	if payload[3] != newReference && payload[3] != newerReference {
		return term.Ref{}, false
	}
	t, _, err := term.Limits{Depth: 1, Nodes: 2}.DecodeBare(payload[3:])
	if err != nil {
		return term.Ref{}, false
	}
	ref, ok := t.(term.Ref)
	return ref, ok
}

// takeRegSend answers net_adm:ping/1 and drops everything else: nothing is
// registered here.
func (n *Node) takeRegSend(c wire.Control, payload []byte) error {
	name, _ := c.ToName()
	if name != "net_kernel" {
		return nil
	}
	message, _, err := term.Limits{Depth: 8, Nodes: 64}.Decode(payload)
	if err != nil {
		return nil
	}
	pid, tag, ok := isAuth(message)
	if !ok || pid.Node != term.Atom(n.peer.Name) {
		return nil
	}
	return n.answer(term.Tuple{term.Int(wire.OpSend), term.Atom(""), pid}, term.Tuple{tag, term.Atom("yes")})
}

// isAuth reads {'$gen_call', {Pid, Tag}, {is_auth, Node}}.
func isAuth(message term.Term) (term.Pid, term.Term, bool) {
	call, ok := message.(term.Tuple)
	if !ok || len(call) != 3 || call[0] != term.Atom("$gen_call") {
		return term.Pid{}, nil, false
	}
	from, ok := call[1].(term.Tuple)
	if !ok || len(from) != 2 {
		return term.Pid{}, nil, false
	}
	request, ok := call[2].(term.Tuple)
	if !ok || len(request) != 2 || request[0] != term.Atom("is_auth") {
		return term.Pid{}, nil, false
	}
	pid, ok := from[0].(term.Pid)
	return pid, from[1], ok
}

// maxReasonNodes bounds the reason of a server that went down, of which an error
// shows the beginning.
const maxReasonNodes = 10_000

// takeMonitorExit ends the call whose server went down.
func (n *Node) takeMonitorExit(c wire.Control, payload []byte) error {
	ref, ok := c.Ref()
	if !ok {
		return errors.New("take message: monitor exit without a reference")
	}
	if !n.waits(ref) {
		return nil
	}
	reason := c.Reason()
	if c.Op == wire.OpPayloadMonitorExit {
		var err error
		if reason, err = n.decode(payload, maxReasonNodes); err != nil {
			reason = term.Atom("unreadable")
		}
	}
	n.deliver(ref, reply{err: &serverDown{reason}})
	return nil
}

// takeMonitor keeps a monitor on net_kernel or our process silently, as they
// live as long as the connection; any other process is not there.
func (n *Node) takeMonitor(c wire.Control) error {
	if c.To() == term.Atom("net_kernel") || c.To() == term.Term(n.pid) {
		return nil
	}
	ref, ok := c.Ref()
	if !ok {
		return errors.New("take message: monitor without a reference")
	}
	if n.payloadExits() {
		return n.answer(term.Tuple{term.Int(wire.OpPayloadMonitorExit), c.To(), c.From(), ref}, noproc)
	}
	return n.answer(term.Tuple{term.Int(wire.OpMonitorExit), c.To(), c.From(), ref, noproc}, nil)
}

// answerExit answers a link: no process here can be linked to.
func (n *Node) answerExit(c wire.Control) error {
	if n.payloadExits() {
		return n.answer(term.Tuple{term.Int(wire.OpPayloadExit), c.To(), c.From()}, noproc)
	}
	return n.answer(term.Tuple{term.Int(wire.OpExit), c.To(), c.From(), noproc}, nil)
}

// payloadExits reports whether exit reasons travel as payload on this link.
func (n *Node) payloadExits() bool {
	return n.self.Flags.Has(wire.ExitPayload) && n.peer.Flags.Has(wire.ExitPayload)
}

// answer sends a control message, with a payload unless message is nil.
func (n *Node) answer(control term.Tuple, message term.Term) error {
	var frame []byte
	var err error
	if message == nil {
		frame, err = wire.AppendFrame(nil, control, nil)
	} else {
		frame, err = wire.AppendMessage(nil, control, message)
	}
	if err != nil {
		return fmt.Errorf("answer message: %w", err)
	}
	return n.write(frame)
}
