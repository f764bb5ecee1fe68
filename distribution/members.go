package distribution

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// BadRPC is a call that reached the guest and ended badly there.
type BadRPC struct {
	Text   string    // what was called and why it failed, on one line
	Reason term.Term // as in {badrpc, Reason}
}

func (e *BadRPC) Error() string { return e.Text }

// Ensure makes a member as given. What may change while its link stays are
// the cookies (they count from the next handshake on), the rules and the
// forwarded ports; any other change ends the link.
func (g *Gateway) Ensure(ctx context.Context, m Member) (Node, error) {
	if !m.Name.Valid() {
		return Node{}, fmt.Errorf("ensure gateway member: %q is no app's name", m.Name)
	}
	g.ledger.named(m.Name, m.Node)
	req := protocol.Request{Op: protocol.OpSet, Name: string(m.Name), Member: g.travel(m)}
	resp, err := g.ask(ctx, req)
	if err == nil && len(resp.Need) > 0 {
		resp, err = g.ensureWith(ctx, m, req)
	}
	switch {
	case err != nil:
		return Node{}, fmt.Errorf("ensure gateway member %s: %w", m.Name, err)
	case resp.Node == nil:
		return Node{}, fmt.Errorf("ensure gateway member %s: the gateway still lacks its sockets", m.Name)
	}
	g.ledger.ensured(m.Name)
	n, ok := g.heardNode(*resp.Node)
	if !ok || n.Name != m.Name {
		return Node{}, fmt.Errorf("ensure gateway member %s: the gateway answers of another one", m.Name)
	}
	return n, nil
}

// ensureWith opens the sockets that the gateway needs, one caller at a time:
// the second of two callers for one member then finds that nothing is needed.
func (g *Gateway) ensureWith(ctx context.Context, m Member, req protocol.Request) (protocol.Response, error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	resp, err := g.ask(ctx, req)
	if err != nil || len(resp.Need) == 0 {
		return resp, err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err := heardNeed(m, resp.Need); err != nil {
		return protocol.Response{}, err
	}
	if m.Listen == nil {
		return protocol.Response{}, fmt.Errorf("sockets %v are needed and nobody opens them", resp.Need)
	}
	for _, addr := range resp.Need {
		f, err := m.Listen(ctx, addr)
		if err != nil {
			return protocol.Response{}, fmt.Errorf("open %s inside the namespace: %w", addr, err)
		}
		files = append(files, f)
	}
	req.Sockets = resp.Need
	return g.ask(ctx, req, files...)
}

// Remove ends a member. One that is not there is no error.
func (g *Gateway) Remove(ctx context.Context, name app.Name) error {
	if _, err := g.ask(ctx, protocol.Request{Op: protocol.OpRemove, Name: string(name)}); err != nil {
		return fmt.Errorf("remove gateway member %s: %w", name, err)
	}
	return nil
}

// List reads the members that the gateway serves, in no order.
func (g *Gateway) List(ctx context.Context) ([]Node, error) {
	resp, err := g.ask(ctx, protocol.Request{Op: protocol.OpList})
	if err != nil {
		return nil, fmt.Errorf("list gateway members: %w", err)
	}
	nodes := make([]Node, 0, len(resp.Nodes))
	for _, told := range resp.Nodes {
		if n, ok := g.heardNode(told); ok {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// Call is rpc:call in the guest, made by the gateway's hidden node. A call
// that failed there is a *BadRPC.
func (g *Gateway) Call(ctx context.Context, name app.Name, module, function string, args ...term.Term) (term.Term, error) {
	encoded, err := term.Encode(term.List{Elems: args})
	if err != nil {
		return nil, fmt.Errorf("call %s:%s in %s: %w", module, function, name, err)
	}
	resp, err := g.ask(ctx, protocol.Request{
		Op: protocol.OpCall, Name: string(name), Timeout: timeout(ctx),
		Call: &protocol.Call{Module: module, Function: function, Args: encoded},
	})
	if err != nil && !resp.BadRPC {
		return nil, fmt.Errorf("call %s:%s in %s: %w", module, function, name, err)
	}
	value, err := heardAnswer(resp.Result)
	if err != nil {
		return nil, fmt.Errorf("call %s:%s in %s: %w", module, function, name, err)
	}
	if resp.BadRPC {
		return nil, &BadRPC{Text: fmt.Sprintf("%s: %s", name, resp.Error), Reason: value}
	}
	return value, nil
}

// ProbeHTTP asks the guest's port with GET and returns the status; redirects
// are not followed.
func (g *Gateway) ProbeHTTP(ctx context.Context, name app.Name, port uint16, path string) (status int, err error) {
	resp, err := g.probe(ctx, protocol.OpProbeHTTP, name, protocol.Probe{Port: port, Path: path})
	return resp.Status, err
}

// ProbeTCP connects to the guest's port and hangs up.
func (g *Gateway) ProbeTCP(ctx context.Context, name app.Name, port uint16) error {
	_, err := g.probe(ctx, protocol.OpProbeTCP, name, protocol.Probe{Port: port})
	return err
}

func (g *Gateway) probe(ctx context.Context, op protocol.Op, name app.Name, p protocol.Probe) (protocol.Response, error) {
	resp, err := g.ask(ctx, protocol.Request{Op: op, Name: string(name), Timeout: timeout(ctx), Probe: &p})
	if err != nil {
		return resp, fmt.Errorf("probe %s: %w", name, err)
	}
	return resp, nil
}

// timeout is what is left of ctx; 0 leaves it to the gateway.
func timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}

// Watch tells what changes at members from the moment of the call until ctx
// ends. When the gateway was started anew, or events were missed, it says
// Restarted: every member must then be ensured again, which tells its state.
func (g *Gateway) Watch(ctx context.Context) iter.Seq2[Event, error] {
	stream, _, err := g.open(ctx)
	if err == nil {
		context.AfterFunc(ctx, func() { stream.Close() })
	}
	return func(yield func(Event, error) bool) {
		for {
			if err == nil && !g.follow(ctx, stream, yield) {
				return
			}
			if waitErr := g.waitUp(ctx); waitErr != nil {
				if ctx.Err() == nil {
					yield(Event{}, fmt.Errorf("watch gateway: %w", waitErr))
				}
				return
			}
			if stream, _, err = g.open(ctx); err != nil {
				pause(ctx, firstRetry) // it has just ended and the room does not know yet
				continue
			}
			if !yield(Event{Kind: Restarted, Detail: "events may be missing", At: time.Now()}, nil) {
				stream.Close()
				return
			}
		}
	}
}

// follow yields the events of one stream until it ends (true) or the reader
// has enough (false).
func (g *Gateway) follow(ctx context.Context, stream *net.UnixConn, yield func(Event, error) bool) bool {
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	for {
		var ev protocol.Event
		if _, err := protocol.Read(stream, &ev); err != nil {
			return ctx.Err() == nil
		}
		event, ok := g.heardEvent(ev)
		if ok && !yield(event, nil) { // others are the room's own, or nonsense
			return false
		}
	}
}

// travel is a member as it goes to the gateway, cookies in clear.
func (g *Gateway) travel(m Member) *protocol.Member {
	return &protocol.Member{
		Name: string(m.Name), Node: m.Node, HostNode: m.HostNode,
		Guest: m.Guest, EPMD: m.EPMD, Host: m.Host,
		Cookie: m.Cookie.Reveal(), HostCookie: m.HostCookie.Reveal(),
		NextCookie: m.NextCookie.Reveal(), NextHostCookie: m.NextHostCookie.Reveal(),
		GuestTLS: travelTLS(m.GuestTLS), HostTLS: travelTLS(m.HostTLS),
		Forward: m.Forward, Messages: m.Messages, Build: m.Build, Record: g.readRecord(m.Name),
	}
}
