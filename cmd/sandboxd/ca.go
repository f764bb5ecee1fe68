package main

import (
	"context"
	"net"

	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// toHost makes TLS of our own node's connection to the host VM; nil where that
// leg is plain.
func (c Config) toHost() func(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if !c.Legs.hostTLS {
		return nil
	}
	legs := c.certificates()
	peer := secure.Peer{What: "host VM", Node: c.HostNode, ByHost: true}
	return func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		id, err := legs.ToHost()
		if err != nil {
			return nil, err
		}
		return id.Client(ctx, conn, peer)
	}
}

// RotateTLS implements control.Certificates.
func (d *daemon) RotateTLS(ctx context.Context, name string) ([]status.Rotation, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	return p.reconciler.RotateTLS(ctx, app.Name(name))
}

// IssueTLS implements control.Certificates. It needs no guests, no gateway and
// no host VM, which may not start before it has its certificate.
func (d *daemon) IssueTLS(_ context.Context, node string) (status.Certificate, error) {
	id, err := d.cfg.certificates().Issue(node)
	if err != nil {
		return status.Certificate{}, err
	}
	return status.Certificate{CA: id.CA, Node: id.Cert + id.Key.Reveal(), Options: secure.Options(status.CertificateCA, status.CertificateNode)}, nil
}
