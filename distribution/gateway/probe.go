package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"beamsandbox/distribution/gateway/protocol"
)

// maxProbeBody is how much of an answer a probe reads, in bytes.
const maxProbeBody = 64 << 10

// probeHTTP asks the guest with GET and returns the status. Redirects are not
// followed: they could lead elsewhere.
func (m *member) probeHTTP(ctx context.Context, p protocol.Probe) (status int, err error) {
	at := netip.AddrPortFrom(m.spec().Guest.Addr(), p.Port)
	if !strings.HasPrefix(p.Path, "/") {
		return 0, fmt.Errorf("probe http: path %q does not begin with /", p.Path)
	}
	target, err := url.Parse("http://" + at.String() + p.Path)
	if err != nil {
		return 0, fmt.Errorf("probe http: %w", err)
	}
	req := (&http.Request{Method: http.MethodGet, URL: target, Host: "localhost", Close: true, Header: http.Header{"User-Agent": {"sandbox-gateway"}}}).WithContext(ctx)
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxProbeBody}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("probe http port %d: %w", p.Port, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxProbeBody)); err != nil {
		return 0, fmt.Errorf("probe http port %d: read body: %w", p.Port, err)
	}
	return resp.StatusCode, nil
}

// probeTCP connects to the guest and hangs up.
func (m *member) probeTCP(ctx context.Context, port uint16) error {
	conn, err := dial(ctx, netip.AddrPortFrom(m.spec().Guest.Addr(), port))
	if err != nil {
		return fmt.Errorf("probe tcp port %d: %w", port, err)
	}
	return conn.Close()
}
