package distribution

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unicode"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// The gateway reads what guests send, so one of them may have taken it over: what
// it says is no more trusted than they are. Whatever comes from it goes through
// this file before the room, which is root, does anything with it.
const (
	// maxLine bounds one text, in bytes.
	maxLine = 2 << 10
	// maxCounters and maxRecent bound what is counted and shown of one member.
	maxCounters = 64
	maxRecent   = 64
	// maxSaid bounds what a guest said since it was asked last, in bytes.
	maxSaid = 80 << 10
)

// answerLimits bound what a guest answered to a call.
func answerLimits() term.Limits { return term.Limits{Depth: 64, Nodes: 200_000} }

// ask is protocol.Ask with an error that fits in a log.
func (g *Gateway) ask(ctx context.Context, req protocol.Request, files ...*os.File) (protocol.Response, error) {
	resp, err := protocol.Ask(ctx, g.socket, req, files...)
	if resp.Error != "" {
		resp.Error = line(resp.Error)
		err = errors.New(resp.Error)
	}
	return resp, err
}

// line is text on one line, bounded and printable.
func line(text string) string {
	if len(text) > maxLine {
		text = text[:maxLine] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
}

// heardNode is a member as the gateway tells of it; ok is false for one that
// cannot be a member of this room.
func (g *Gateway) heardNode(n protocol.Node) (node Node, ok bool) {
	name := app.Name(n.Name)
	if !name.Valid() || wire.CheckNodeName(n.Node) != nil || !g.ledger.goesBy(name, n.Node) {
		return Node{}, false
	}
	node = Node{
		Atoms: n.Atoms, AtomBudget: n.AtomBudget, Rights: counters(n.Rights), Closed: n.Closed, NextTry: n.NextTry,
		Name: name, Node: n.Node, Port: n.Port, Registered: n.Registered,
		Up: n.Up, Since: n.Since, Error: line(n.Error), Refused: counters(n.Refused), Mode: mode(n.Mode),
	}
	for _, r := range n.Recent[max(0, len(n.Recent)-maxRecent):] {
		r.Rule, r.Op, r.To, r.Message = line(r.Rule), line(r.Op), line(r.To), line(r.Message)
		node.Recent = append(node.Recent, Refusal(r))
	}
	if q := n.Quarantine; q != nil {
		node.Quarantine = &Quarantine{At: q.At, Rule: line(q.Rule), Closed: q.Closed, Build: line(q.Build)}
	}
	return node, true
}

// mode is one that there is; of another one the worst is thought.
func mode(m policy.Mode) policy.Mode {
	if m == "" || m == policy.Enforce || m == policy.Audit {
		return m
	}
	return policy.Trusted
}

// counters keeps what can be a counter's name.
func counters[V int | uint64](told map[string]V) map[string]V {
	if told == nil {
		return nil
	}
	kept := map[string]V{}
	for name, n := range told {
		if len(kept) < maxCounters && len(name) <= 64 && line(name) == name {
			kept[name] = n
		}
	}
	return kept
}

// heardEvent is a change as the gateway tells of it; ok is false for one that
// cannot be.
func (g *Gateway) heardEvent(ev protocol.Event) (event Event, ok bool) {
	kind, name := EventKind(ev.Kind), app.Name(ev.Name)
	known := slices.Contains([]EventKind{Registered, Unregistered, Up, Down, LinkError, Refused, Quarantined}, kind)
	if !known || !name.Valid() || wire.CheckNodeName(ev.Node) != nil || !g.ledger.goesBy(name, ev.Node) {
		return Event{}, false
	}
	return Event{Kind: kind, Name: name, Node: ev.Node, Detail: line(ev.Detail), At: ev.At}, true
}

// heardAnswer reads what a guest answered to a call.
func heardAnswer(result []byte) (term.Term, error) {
	value, rest, err := answerLimits().Decode(result)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes follow the term")
	}
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return value, nil
}

// heardNeed says why the gateway may not ask for these sockets.
func heardNeed(m Member, need []netip.AddrPort) error {
	for i, addr := range need {
		if addr != m.EPMD && addr != m.Host || slices.Contains(need[:i], addr) {
			return fmt.Errorf("the gateway asks for a socket at %s, which is not the member's", addr)
		}
	}
	return nil
}
