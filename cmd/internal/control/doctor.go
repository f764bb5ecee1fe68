package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Doctor is a daemon that can examine itself and all that it works with.
type Doctor interface {
	// Doctor makes every check, or the machine's, the host VM's and one app's.
	Doctor(ctx context.Context, app string) ([]status.Check, error)
}

// Doctor asks for every check, or those that matter to app when it is not
// empty.
func (c *Client) Doctor(ctx context.Context, app string) ([]status.Check, error) {
	var checks []status.Check
	return checks, c.json(ctx, http.MethodGet, "doctor?app="+url.QueryEscape(app), &checks)
}

func (h handler) doctor(d Doctor) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		app := r.URL.Query().Get("app")
		checks, err := d.Doctor(r.Context(), app)
		if err != nil {
			fail(w, http.StatusNotFound, fmt.Errorf("examine %s: %w", app, err))
			return
		}
		reply(w, checks)
	}
}
