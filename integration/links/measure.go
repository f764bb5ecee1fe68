package links

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Way is how host VM and guest are linked.
type Way string

// The ways that are compared.
const (
	Direct  Way = "direct" // no gateway: the host VM dials the guest's own address
	Copied  Way = "copied" // through a process that copies bytes and does nothing else
	Trusted Way = "trusted"
	Enforce Way = "enforce"
)

func (w Way) gateway() bool { return w == Trusted || w == Enforce }

// link makes the host VM's link to the guest go the given way.
func (r *Rig) link(ctx context.Context, way Way) error {
	node := term.Atom(r.member.Node)
	cookie, err := r.choose(ctx, way, node)
	if err == nil {
		_, err = r.call(ctx, "erlang", "set_cookie", node, cookie)
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", way, err)
	}
	for _, function := range [][2]string{{"net_kernel", "connect_node"}, {"bench_link", "ready"}} {
		err := until(ctx, string(way)+" link", func() error {
			v, err := r.call(ctx, function[0], function[1], node)
			if err == nil && v != term.Term(term.Atom("true")) {
				err = fmt.Errorf("%s gives %s", function[1], term.Format(v))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return until(ctx, "the gateway's view of the link", func() error { return r.checkWay(ctx, way) })
}

// choose tells the host VM where its next connection goes, and returns the
// cookie for it.
func (r *Rig) choose(ctx context.Context, way Way, node term.Atom) (cookie term.Atom, err error) {
	if way.gateway() {
		if _, err := r.call(ctx, "bench_link", "relayed", node); err != nil {
			return "", err
		}
		r.member.Messages = messages(policy.Mode(way))
		_, err = r.gateway.Ensure(ctx, r.member)
		return clusterCookie, err
	}
	at := r.member.Guest
	if way == Copied {
		if at, err = r.relay(at); err != nil {
			return "", err
		}
	}
	a := at.Addr().As4()
	addr := term.Tuple{term.Int(a[0]), term.Int(a[1]), term.Int(a[2]), term.Int(a[3])}
	_, err = r.call(ctx, "bench_link", "direct", node, addr, term.Int(at.Port()))
	return guestCookie, err
}

// checkWay makes sure that what is measured is what it is called.
func (r *Rig) checkWay(ctx context.Context, way Way) error {
	nodes, err := r.gateway.List(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == app.Name(guestName) && (n.Up != way.gateway() || n.Up && n.Mode != policy.Mode(way)) {
			return fmt.Errorf("link is to be %s, the gateway says %+v", way, n)
		}
	}
	return nil
}

// roundTrips measures n calls of the host VM that a process of the guest
// answers: one small frame each way.
func (r *Rig) roundTrips(ctx context.Context, n int) ([]time.Duration, error) {
	v, err := r.call(ctx, "bench_link", "rtt", term.Atom(r.member.Node), term.Int(n/10), term.Int(n))
	if err != nil {
		return nil, err
	}
	b, ok := v.(term.Binary)
	if !ok || len(b) != 4*n {
		return nil, fmt.Errorf("round trips gave %s", term.Brief(v, 200))
	}
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = time.Duration(binary.BigEndian.Uint32([]byte(b[4*i:])))
	}
	slices.Sort(all)
	return all, nil
}

// flood measures how long count messages of size bytes take, sent by the
// guest ("from") or to it ("to").
func (r *Rig) flood(ctx context.Context, dir string, size, count int) (time.Duration, error) {
	v, err := r.call(ctx, "bench_link", "flood", term.Atom(r.member.Node), term.Atom(dir), term.Int(size), term.Int(count))
	if err != nil {
		return 0, err
	}
	ns, ok := v.(term.Int)
	if !ok {
		return 0, fmt.Errorf("flood gave %s", term.Brief(v, 200))
	}
	return time.Duration(ns), nil
}
