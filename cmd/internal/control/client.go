package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"beamsandbox/reconcile/status"
)

// ErrUnreachable means that no daemon answers on the socket.
var ErrUnreachable = errors.New("sandboxd does not answer")

// Client asks one daemon.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the daemon at socket; it does not connect yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status returns the daemon's newest snapshot.
func (c *Client) Status(ctx context.Context) (status.Host, error) {
	var h status.Host
	return h, c.json(ctx, http.MethodGet, "status", &h)
}

// Plan returns what a pass would do now.
func (c *Client) Plan(ctx context.Context) ([]status.Step, error) {
	var steps []status.Step
	return steps, c.json(ctx, http.MethodGet, "plan", &steps)
}

// Sync asks for a pass now and does not wait for it.
func (c *Client) Sync(ctx context.Context) error {
	return c.json(ctx, http.MethodPost, "sync", nil)
}

// Drain removes every app and returns when they are gone.
func (c *Client) Drain(ctx context.Context) error {
	return c.json(ctx, http.MethodPost, "drain", nil)
}

// Logs copies app's log to w; with follow it ends with ctx or the app.
func (c *Client) Logs(ctx context.Context, app string, follow bool, w io.Writer) error {
	path := "apps/" + url.PathEscape(app) + "/logs"
	if follow {
		path += "?follow=1"
	}
	return c.stream(ctx, path, nil, w)
}

// Events calls fn for each event until fn returns false or ctx ends. Ready is
// called once the subscription stands: what happens after it is seen.
func (c *Client) Events(ctx context.Context, ready func(), fn func(status.Event) bool) error {
	body, err := c.do(ctx, http.MethodGet, "events")
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			if ready != nil && bytes.HasPrefix(lines.Bytes(), []byte(":")) {
				ready()
				ready = nil
			}
			continue
		}
		var e status.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("read an event from %s: %w", c.socket, err)
		}
		if !fn(e) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return lines.Err()
}

func (c *Client) json(ctx context.Context, method, path string, v any) error {
	body, err := c.do(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read the answer of sandboxd at %s: %w", c.socket, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	return c.request(ctx, method, path, nil)
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://sandboxd/"+Version+"/"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("sandboxd at %s answered %s", c.socket, res.Status)
	}
	return nil, errors.New(f.Error)
}

// unreachable turns a dial error into what to do about it.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: no permission for %s: be root or in its group", ErrUnreachable, c.socket)
	}
	return fmt.Errorf("%w on %s: start it, or name its socket with --socket", ErrUnreachable, c.socket)
}
