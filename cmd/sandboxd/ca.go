package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// endsSoon is how long before its end the host VM's certificate is worth a
// word: nobody but the operator renews it.
const endsSoon = 30 * 24 * time.Hour

// toHost makes TLS of our own node's connection to the host VM; nil where that
// leg is plain.
func (c Config) toHost(log *slog.Logger) func(ctx context.Context, conn net.Conn) (net.Conn, error) {
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
		inner, err := id.Client(ctx, conn, peer)
		if s, ok := inner.(secure.Conn); ok && time.Until(s.Ends()) < endsSoon {
			log.Warn("the host VM's certificate ends soon: issue another one (sandboxctl tls issue)", "node", c.HostNode, "ends", s.Ends())
		}
		return inner, err
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
