package hex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fetchTimeout bounds one request from its first byte to its last.
const fetchTimeout = 2 * time.Minute

// maxRedirects is how often an answer may point elsewhere.
const maxRedirects = 5

// answer is what came for one request.
type answer struct {
	body        []byte
	etag        string
	notModified bool
}

// get asks for a path below the repository's address; etag, if there is one,
// is that of the answer already at hand.
func (r *Repository) get(ctx context.Context, path, etag string, limit int) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := r.request(ctx, path, etag)
	if err != nil {
		return answer{}, err
	}
	res, err := r.client().Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrUnreachable, withoutQuery(err))
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or given up
	if res.StatusCode == http.StatusNotModified && etag != "" {
		return answer{notModified: true}, nil
	}
	if err := checkStatus(res, path); err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(limit)+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("%w: %s ends early: %w", ErrUnreachable, path, err)
	case len(body) > limit:
		return answer{}, fmt.Errorf("%w: %s has more than %d MB", ErrTooLarge, path, limit>>20)
	}
	return answer{body: body, etag: cleanETag(res.Header.Get("ETag"))}, nil
}

func (r *Repository) request(ctx context.Context, path, etag string) (*http.Request, error) {
	base, err := url.Parse(r.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, fmt.Errorf("%w: the address of repository %s is not http(s)://host/path: correct it", ErrUnreachable, r.Name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	// Answers are gzip files already: no transport may undo that.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "beamsandbox")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if r.AuthToken.Empty() {
		return req, nil
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, fmt.Errorf("%w: a token is not sent over plain http: use https", ErrDenied)
	}
	req.Header.Set("Authorization", r.AuthToken.Reveal())
	return req, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// client is the configured one with our rules on redirects.
func (r *Repository) client() *http.Client {
	c := http.Client{}
	if r.Client != nil {
		c = *r.Client
	}
	c.CheckRedirect = checkRedirect
	return &c
}

// checkRedirect follows a few redirects, never from https to http, and leaves
// the token behind when the host changes.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case first.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("a redirect from https to " + req.URL.Scheme)
	case req.URL.Host != first.Host:
		req.Header.Del("Authorization")
	}
	return nil
}

func checkStatus(res *http.Response, path string) error {
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: %s for %s", ErrNotFound, res.Status, path)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s for %s", ErrDenied, res.Status, path)
	}
	return fmt.Errorf("%w: it answers %.60q for %s", ErrUnreachable, res.Status, path)
}

// withoutQuery takes the address that redirects led to out of err: it may
// carry somebody's signature.
func withoutQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// cleanETag is tag if it is one that can be sent back, else nothing.
func cleanETag(tag string) string {
	if len(tag) > 256 || strings.ContainsFunc(tag, func(c rune) bool { return c < '!' || c > '~' }) {
		return ""
	}
	return tag
}
