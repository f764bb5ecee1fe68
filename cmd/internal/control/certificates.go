package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Certificates is what the handler asks of a daemon whose links may speak TLS.
type Certificates interface {
	// RotateTLS replaces the certificate of one guest, or of every one and of
	// the gateway when app is empty. Established connections stay.
	RotateTLS(ctx context.Context, app string) ([]status.Rotation, error)
	// IssueTLS makes a certificate for a node of the host VM's cluster.
	IssueTLS(ctx context.Context, node string) (status.Certificate, error)
}

func (h handler) certificateRoutes(mux *http.ServeMux, d Certificates) {
	h.rotation(mux, "tls/rotate", func(r *http.Request, app string) ([]status.Rotation, error) {
		return d.RotateTLS(r.Context(), app)
	})
	mux.HandleFunc("POST /v1/tls/issue", func(w http.ResponseWriter, r *http.Request) {
		node := r.URL.Query().Get("node")
		h.log.Info("certificate asked for", "node", node, "by", peer(r.Context()))
		issued, err := d.IssueTLS(r.Context(), node)
		if err != nil {
			fail(w, http.StatusConflict, err)
			return
		}
		reply(w, issued)
	})
}

// RotateTLS replaces the certificate of one guest, of all when app is empty.
func (c *Client) RotateTLS(ctx context.Context, app string) (out []status.Rotation, err error) {
	return out, c.json(ctx, http.MethodPost, "tls/rotate?app="+url.QueryEscape(app), &out)
}

// IssueTLS makes a certificate for a node of the host VM's cluster.
func (c *Client) IssueTLS(ctx context.Context, node string) (out status.Certificate, err error) {
	if err := c.json(ctx, http.MethodPost, "tls/issue?node="+url.QueryEscape(node), &out); err != nil {
		return out, err
	}
	if out.Node == "" {
		return out, errors.New("sandboxd issued no certificate; sandboxctl and sandboxd should be of one version")
	}
	return out, nil
}
