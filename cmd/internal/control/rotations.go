package control

import (
	"context"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Cookies is what the handler asks of a daemon that can replace cookies.
// Established connections stay.
type Cookies interface {
	// RotateCookie replaces the cookie of one guest, or of every one when app
	// is empty.
	RotateCookie(ctx context.Context, app string) ([]status.Rotation, error)
	// RotateCluster replaces the cookie of the host VM.
	RotateCluster(ctx context.Context) ([]status.Rotation, error)
}

// rotation adds a path that replaces something: for ?app=NAME, or as a whole.
func (h handler) rotation(mux *http.ServeMux, path string, do func(r *http.Request, app string) ([]status.Rotation, error)) {
	mux.HandleFunc("POST /v1/"+path, func(w http.ResponseWriter, r *http.Request) {
		app := r.URL.Query().Get("app")
		h.log.Info("rotation asked for", "what", path, "app", app, "by", peer(r.Context()))
		done, err := do(r, app)
		if err != nil {
			fail(w, http.StatusConflict, err)
			return
		}
		reply(w, done)
	})
}

func (h handler) cookieRoutes(mux *http.ServeMux, d Cookies) {
	h.rotation(mux, "cookies/rotate", func(r *http.Request, app string) ([]status.Rotation, error) {
		return d.RotateCookie(r.Context(), app)
	})
	h.rotation(mux, "cookies/rotate-cluster", func(r *http.Request, _ string) ([]status.Rotation, error) {
		return d.RotateCluster(r.Context())
	})
}

// RotateCookie replaces the cookie of one guest, of all when app is empty.
func (c *Client) RotateCookie(ctx context.Context, app string) (out []status.Rotation, err error) {
	return out, c.json(ctx, http.MethodPost, "cookies/rotate?app="+url.QueryEscape(app), &out)
}

// RotateCluster replaces the cookie of the host VM.
func (c *Client) RotateCluster(ctx context.Context) (out []status.Rotation, err error) {
	return out, c.json(ctx, http.MethodPost, "cookies/rotate-cluster", &out)
}
