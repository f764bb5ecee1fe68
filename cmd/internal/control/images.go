package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Images is what the handler asks of a daemon that keeps images. Names are
// those of apps, of images, or the beginning of a digest.
type Images interface {
	Images(ctx context.Context) ([]status.Image, error)
	InspectImage(ctx context.Context, name string) (status.ImageDetail, error)
	// BuildImage builds the source in a tar archive as app's image; the build's
	// log goes to log as it is written.
	BuildImage(ctx context.Context, app, version string, source io.Reader, log io.Writer) (status.Image, error)
	PullImage(ctx context.Context, from string) (status.Image, error)
	PushImage(ctx context.Context, name, to string) error
	ImportImage(ctx context.Context, archive io.Reader) (status.Image, error)
	ExportImage(ctx context.Context, name string, w io.Writer) error
	PruneImages(ctx context.Context) (status.Freed, error)
}

// imageRoutes adds the paths about images.
func (h handler) imageRoutes(mux *http.ServeMux, d Images) {
	answer := func(verb string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(verb, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				h.log.Info("images asked for", "what", r.URL.Path, "by", peer(r.Context()))
			}
			v, err := do(r)
			if err != nil {
				fail(w, http.StatusConflict, err)
				return
			}
			reply(w, v)
		})
	}
	get := func(r *http.Request, key string) string { return r.URL.Query().Get(key) }
	answer("GET /v1/images", func(r *http.Request) (any, error) { return d.Images(r.Context()) })
	answer("GET /v1/images/inspect", func(r *http.Request) (any, error) { return d.InspectImage(r.Context(), get(r, "name")) })
	answer("POST /v1/images/pull", func(r *http.Request) (any, error) { return d.PullImage(r.Context(), get(r, "from")) })
	answer("POST /v1/images/push", func(r *http.Request) (any, error) {
		return struct{}{}, d.PushImage(r.Context(), get(r, "name"), get(r, "to"))
	})
	answer("POST /v1/images/import", func(r *http.Request) (any, error) { return d.ImportImage(r.Context(), r.Body) })
	answer("POST /v1/images/prune", func(r *http.Request) (any, error) { return d.PruneImages(r.Context()) })
	mux.HandleFunc("POST /v1/images/build", func(w http.ResponseWriter, r *http.Request) { h.build(w, r, d) })
	mux.HandleFunc("GET /v1/images/export", func(w http.ResponseWriter, r *http.Request) { h.export(w, r, d) })
}

// export streams an archive. Once bytes are out, an error can only cut the
// stream short, which the client sees.
func (h handler) export(w http.ResponseWriter, r *http.Request, d Images) {
	w.Header().Set("Content-Type", "application/x-tar")
	out := &flusher{w: w}
	err := d.ExportImage(r.Context(), r.URL.Query().Get("name"), out)
	switch {
	case err == nil:
	case !out.wrote:
		fail(w, http.StatusConflict, err)
	default:
		h.log.Error("export an image", "err", err)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}
}

// Images lists the images that the daemon keeps.
func (c *Client) Images(ctx context.Context) (out []status.Image, err error) {
	return out, c.json(ctx, http.MethodGet, "images", &out)
}

// InspectImage describes one image in full.
func (c *Client) InspectImage(ctx context.Context, name string) (out status.ImageDetail, err error) {
	return out, c.json(ctx, http.MethodGet, query("images/inspect", "name", name), &out)
}

// PullImage has the daemon pull from a registry.
func (c *Client) PullImage(ctx context.Context, from string) (out status.Image, err error) {
	return out, c.json(ctx, http.MethodPost, query("images/pull", "from", from), &out)
}

// PushImage has the daemon push to a registry.
func (c *Client) PushImage(ctx context.Context, name, to string) error {
	return c.json(ctx, http.MethodPost, query("images/push", "name", name, "to", to), nil)
}

// ImportImage sends an archive of an image.
func (c *Client) ImportImage(ctx context.Context, archive io.Reader) (out status.Image, err error) {
	return out, c.send(ctx, "images/import", archive, &out)
}

// ExportImage copies an image to w as an archive.
func (c *Client) ExportImage(ctx context.Context, name string, w io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, query("images/export", "name", name))
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("export %s: the archive is cut short: %w", name, err)
	}
	return nil
}

// PruneImages removes what no app uses.
func (c *Client) PruneImages(ctx context.Context) (out status.Freed, err error) {
	return out, c.json(ctx, http.MethodPost, "images/prune", &out)
}

// send posts a body and decodes the answer.
func (c *Client) send(ctx context.Context, path string, body io.Reader, v any) error {
	answer, err := c.request(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(v); err != nil {
		return fmt.Errorf("read the answer of sandboxd at %s: %w", c.socket, err)
	}
	return nil
}

// query writes a path with parameters, key and value in turn.
func query(path string, pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + values.Encode()
}
