package gateway

import (
	"errors"
	"fmt"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// judge passes one frame on, drops it, or returns why the link must end: a
// frame that cannot be read, or a leg that cannot be written to.
func (l *link) judge(dir policy.Direction, frame []byte, from, to *leg) error {
	control, _, err := wire.SplitFrame(frame)
	if err != nil {
		l.m.count("malformed")
		return err
	}
	name, _ := control.ToName()
	err = l.m.rules().Check(policy.Message{Direction: dir, Op: uint8(control.Op), ToName: string(name)})
	var refusal *policy.Refusal
	switch {
	case errors.As(err, &refusal):
		l.m.count(refusal.Rule)
		return l.soothe(dir, refusal.Rule, control, from, to.id)
	case err != nil:
		return fmt.Errorf("check message: %w", err)
	}
	if err := to.send(frame); err != nil {
		return writeError{err}
	}
	return nil
}

// soothe answers a refused message where silence would hang its sender, in
// the name of the node that will never get it.
func (l *link) soothe(dir policy.Direction, rule string, c wire.Control, from *leg, absent wire.Identity) error {
	switch {
	case c.Op == wire.OpMonitor:
		return noProcess(c, from)
	case c.Op == wire.OpRegSend && rule == policy.RuleGlobal && !l.synced[dir]:
		l.synced[dir] = true
		return inSync(from, absent)
	}
	return nil
}

// noProcess answers a monitor as if there were no such process:
// {28, FromProc, ToPid, Ref} with reason noproc.
func noProcess(c wire.Control, from *leg) error {
	return answer(from, term.Tuple{term.Int(wire.OpPayloadMonitorExit), c.To(), c.From(), c.Tuple[3]}, term.Atom("noproc"))
}

// inSync tells a node's global that the other node has nothing to settle with
// it. OTP's global greets every visible node and makes global:sync/0 wait for
// the answer (kernel's global.erl, in_sync); the greeting itself must not pass:
// a global that knows of nodes which cannot reach each other disconnects them.
func inSync(from *leg, absent wire.Identity) error {
	sender := term.Pid{Node: term.Atom(absent.Name), ID: 1, Creation: absent.Creation}
	return answer(from,
		term.Tuple{term.Int(wire.OpRegSend), sender, term.Atom(""), term.Atom(policy.GlobalServer)},
		term.Tuple{term.Atom("$gen_cast"), term.Tuple{term.Atom("in_sync"), term.Atom(absent.Name), term.Atom("true")}})
}

// answer sends a message of our own back to where a refused one came from.
func answer(to *leg, control term.Tuple, message term.Term) error {
	frame, err := wire.AppendMessage(nil, control, message)
	if err != nil {
		return err
	}
	return to.send(frame)
}
