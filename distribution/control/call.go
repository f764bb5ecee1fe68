package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// BadRPC is a call that the other node made and that ended badly there.
type BadRPC struct {
	Call   string    // "module:function/arity"
	Reason term.Term // as in {badrpc, Reason}
}

// maxReason bounds a reason in an error's text, in bytes.
const maxReason = 400

// Error names the call and the reason, without its stack trace: that holds
// the arguments, which nobody asked to see in a log.
func (e *BadRPC) Error() string {
	return fmt.Sprintf("call %s: badrpc: %s", e.Call, brief(withoutStack(e.Reason)))
}

// brief is t as text that fits in an error.
func brief(t term.Term) string {
	text := term.Format(t)
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// withoutStack turns {'EXIT', {Reason, Stack}} into {'EXIT', Reason}.
func withoutStack(reason term.Term) term.Term {
	exit, ok := reason.(term.Tuple)
	if !ok || len(exit) != 2 || exit[0] != term.Atom("EXIT") {
		return reason
	}
	inner, ok := exit[1].(term.Tuple)
	if !ok || len(inner) != 2 {
		return reason
	}
	if _, stack := inner[1].(term.List); !stack {
		return reason
	}
	return term.Tuple{exit[0], inner[0]}
}

// Call is rpc:call(Peer, Module, Function, Args): it runs the function there
// and returns its value. What the function prints goes to that node's user
// process. A function that fails is a *BadRPC; a connection that ends is
// ErrDown. When ctx ends first the function still runs to its end.
func (n *Node) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	name := fmt.Sprintf("%s:%s/%d", module, function, len(args))
	request := term.Tuple{
		term.Atom("call"), term.Atom(module), term.Atom(function), term.List{Elems: args}, term.Atom("user"),
	}
	value, err := n.genCall(ctx, "rex", request)
	if err != nil {
		return nil, fmt.Errorf("call %s on %s: %w", name, n.peer.Name, err)
	}
	if t, ok := value.(term.Tuple); ok && len(t) == 2 && t[0] == term.Atom("badrpc") {
		return nil, &BadRPC{Call: name, Reason: t[1]}
	}
	return value, nil
}

// Ping asks the other node's net_kernel whether it knows us, as net_adm:ping/1
// does: a nil error means that the node is up and answers.
func (n *Node) Ping(ctx context.Context) error {
	answer, err := n.genCall(ctx, "net_kernel", term.Tuple{term.Atom("is_auth"), term.Atom(n.self.Name)})
	if err != nil {
		return fmt.Errorf("ping %s: %w", n.peer.Name, err)
	}
	if answer != term.Atom("yes") {
		return fmt.Errorf("ping %s: answer is %s instead of yes", n.peer.Name, brief(answer))
	}
	return nil
}

// Send sends message to the process registered as name. There is no answer,
// also not when no such process is there.
func (n *Node) Send(name string, message term.Term) error {
	frame, err := wire.AppendMessage(nil, n.sendTo(name), message)
	if err != nil {
		return fmt.Errorf("send to %s on %s: %w", name, n.peer.Name, err)
	}
	if err := n.write(frame); err != nil {
		return fmt.Errorf("send to %s on %s: %w", name, n.peer.Name, err)
	}
	return nil
}

func (n *Node) sendTo(name string) term.Tuple {
	return term.Tuple{term.Int(wire.OpRegSend), n.pid, term.Atom(""), term.Atom(name)}
}

// genCall is gen:call/4: a monitor on the server and the request
// {'$gen_call', {Pid, Ref}, Request}, answered by {Ref, Reply}.
func (n *Node) genCall(ctx context.Context, server string, request term.Term) (term.Term, error) {
	ref := n.newRef()
	message := term.Tuple{term.Atom("$gen_call"), term.Tuple{n.pid, ref}, request}
	send, err := wire.AppendMessage(nil, n.sendTo(server), message)
	if err != nil {
		return nil, err
	}
	monitor, err := wire.AppendFrame(nil, n.monitor(wire.OpMonitor, server, ref), nil)
	if err != nil {
		return nil, err
	}
	answer, err := n.expect(ref)
	if err != nil {
		return nil, err
	}
	if err := n.write(monitor, send); err != nil {
		n.forget(ref)
		return nil, err
	}
	return n.await(ctx, server, ref, answer)
}

func (n *Node) monitor(op wire.Op, server string, ref term.Ref) term.Tuple {
	return term.Tuple{term.Int(op), n.pid, term.Atom(server), ref}
}

// await waits for the answer to ref and takes the monitor down again.
func (n *Node) await(ctx context.Context, server string, ref term.Ref, answer <-chan reply) (term.Term, error) {
	var got reply
	select {
	case got = <-answer:
	case <-ctx.Done():
		n.forget(ref)
		got.err = fmt.Errorf("wait for the answer: %w", context.Cause(ctx))
	}
	if errors.Is(got.err, ErrDown) || errors.As(got.err, new(*serverDown)) {
		return nil, got.err
	}
	if frame, err := wire.AppendFrame(nil, n.monitor(wire.OpDemonitor, server, ref), nil); err == nil {
		_ = n.write(frame) // the answer is here; a broken connection tells the next call
	}
	return got.value, got.err
}

// serverDown is a registered process that ended or was not there.
type serverDown struct {
	reason term.Term
}

func (e *serverDown) Error() string {
	return fmt.Sprintf("the process that answers calls is down: %s", brief(e.reason))
}

// expect makes room for the answer to ref.
func (n *Node) expect(ref term.Ref) (<-chan reply, error) {
	ch := make(chan reply, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, n.err)
	}
	n.waiting[ref] = ch
	return ch, nil
}

// waits reports whether a call waits for the answer to ref.
func (n *Node) waits(ref term.Ref) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.waiting[ref]
	return ok
}

// forget drops the answer to ref if it still comes.
func (n *Node) forget(ref term.Ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.waiting, ref)
}

// deliver ends the call that waits for ref, if any.
func (n *Node) deliver(ref term.Ref, r reply) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch, ok := n.waiting[ref]
	if ok {
		delete(n.waiting, ref)
		ch <- r // has room for the one answer
	}
	return ok
}
