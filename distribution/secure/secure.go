// Package secure speaks distribution over TLS, as a node does that was started
// with -proto_dist inet_tls: both ends prove a certificate, and each looks
// whether the other's names the node that it expects.
package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"beamsandbox/reconcile/app"
)

// Identity is what one end of a connection proves, and whom it believes, as
// PEM.
type Identity struct {
	CA   string     // the authorities that we believe
	Cert string     // our certificate, and what stands between it and its authority
	Key  app.Secret // its private key
	// PeerSince refuses certificates of the other end that became good before
	// that: they were replaced. Zero refuses none.
	PeerSince time.Time
}

// Peer is whom we expect at the other end.
type Peer struct {
	What string // "guest" or "host VM", for errors
	Node string // "pulse@myhost"
	// ByHost is content with a certificate that names the node's host alone,
	// as other authorities than ours issue them. One that names nodes must
	// still name this one.
	ByHost bool
}

// ErrName is wrapped when a certificate is good and somebody else's.
var ErrName = errors.New("certificate of another node")

// ErrReplaced is wrapped when a certificate is good and not the newest.
var ErrReplaced = errors.New("certificate that was replaced")

// Empty reports whether there is no identity: the leg is plain.
func (id Identity) Empty() bool { return id.Cert == "" }

// Check says why an identity cannot be used.
func (id Identity) Check() error {
	_, err := id.config(Peer{Node: "x@x"})
	return err
}

// Client makes TLS of a connection that we dialed. Ctx bounds the handshake;
// on an error the connection is left for the caller to close.
func (id Identity) Client(ctx context.Context, conn net.Conn, peer Peer) (net.Conn, error) {
	cfg, err := id.config(peer)
	if err != nil {
		return nil, err
	}
	return shake(ctx, tls.Client(conn, cfg), peer)
}

// Server makes TLS of a connection that we accepted; see Client.
func (id Identity) Server(ctx context.Context, conn net.Conn, peer Peer) (net.Conn, error) {
	cfg, err := id.config(peer)
	if err != nil {
		return nil, err
	}
	return shake(ctx, tls.Server(conn, cfg), peer)
}

// config believes id.CA alone, on both roles, and resumes no sessions: each
// handshake looks at the certificate.
func (id Identity) config(peer Peer) (*tls.Config, error) {
	pair, err := tls.X509KeyPair([]byte(id.Cert), []byte(id.Key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("read our own certificate and key for TLS: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(id.CA)) {
		return nil, errors.New("read the authority for TLS: no certificate is in it")
	}
	_, host, _ := strings.Cut(peer.Node, "@")
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		// Also to a peer that names other authorities: its refusal then says why.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
		RootCAs:              pool, ServerName: host,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection:       func(s tls.ConnectionState) error { return peer.admit(s.PeerCertificates, id.PeerSince) },
	}, nil
}

// admit looks at the names of a certificate whose chain is good: nodes are
// rfc822Names (they have the form), hosts dNSNames.
func (p Peer) admit(chain []*x509.Certificate, since time.Time) error {
	if len(chain) == 0 {
		return fmt.Errorf("%s proves no certificate", p.who())
	}
	leaf := chain[0]
	if leaf.NotBefore.Before(since) {
		return fmt.Errorf("%s proves a %w", p.who(), ErrReplaced)
	}
	switch _, host, _ := strings.Cut(p.Node, "@"); {
	case slices.Contains(leaf.EmailAddresses, p.Node):
		return nil
	case len(leaf.EmailAddresses) > 0:
		return fmt.Errorf("%s proves the %w: %s", p.who(), ErrName, strings.Join(leaf.EmailAddresses, ", "))
	case p.ByHost && leaf.VerifyHostname(host) == nil:
		return nil
	}
	return fmt.Errorf("%s proves the %w: it names neither the node nor its host", p.who(), ErrName)
}

func (p Peer) who() string { return strings.TrimSpace(p.What + " " + p.Node) }

func shake(ctx context.Context, c *tls.Conn, peer Peer) (net.Conn, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, explain(err, peer)
	}
	return Conn{c}, nil
}

// Conn is distribution over TLS.
type Conn struct{ *tls.Conn }

// Ends is when the other end's certificate ends.
func (c Conn) Ends() time.Time { return c.ConnectionState().PeerCertificates[0].NotAfter }

// Close ends the connection at once, without TLS's words of goodbye: a peer
// that takes nothing any more would make us wait. Frames say themselves how
// long they are, so that nobody is fooled by an end in the middle.
func (c Conn) Close() error { return c.NetConn().Close() }

// WideHandshake tells package wire how a BEAM frames over TLS.
func (Conn) WideHandshake() {}

// explain says what a failed handshake means to an operator.
func explain(err error, peer Peer) error {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("TLS with %s: it speaks plain distribution: start it with -proto_dist inet_tls, or make this leg plain (key distribution)", peer.who())
	case errors.As(err, &alert):
		return fmt.Errorf("TLS with %s: it does not take our certificate: %w", peer.who(), err)
	case errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("TLS with %s: it does not answer, as a node does that speaks plain distribution: %w", peer.who(), err)
	}
	return fmt.Errorf("TLS with %s: %w", peer.who(), err)
}
