package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"beamsandbox/distribution/term"
)

// Local is an app in the host VM: called in the VM, and its ports are the
// machine's own.
type Local struct {
	VM interface {
		Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
	}
	Dialer net.Dialer
}

// Call calls a function in the host VM.
func (l Local) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	return l.VM.Call(ctx, module, function, args...)
}

// TCP connects to port on the machine's loopback.
func (l Local) TCP(ctx context.Context, port uint16) error {
	conn, err := l.Dialer.DialContext(ctx, "tcp", local(port))
	if err != nil {
		return fmt.Errorf("connect to port %d: %w", port, err)
	}
	return conn.Close()
}

// HTTP gets path from port on the machine's loopback. It follows no
// redirection and reads at most 64 KiB of the answer.
func (l Local) HTTP(ctx context.Context, port uint16, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(port)+path, nil)
	if err != nil {
		return 0, fmt.Errorf("ask port %d for %q: %w", port, path, err)
	}
	transport := &http.Transport{DialContext: l.Dialer.DialContext, DisableKeepAlives: true}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return 0, fmt.Errorf("read the answer of port %d: %w", port, err)
	}
	return resp.StatusCode, nil
}

func local(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }
