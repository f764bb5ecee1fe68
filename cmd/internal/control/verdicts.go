package control

import (
	"context"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Verdicts is a daemon that can say what became of what guests sent, and why.
type Verdicts interface {
	// Gateway asks the gateway now, for every guest.
	Gateway(ctx context.Context) ([]status.Member, error)
	// Lift lets a quarantined app run again.
	Lift(ctx context.Context, app string) error
	// Describe is everything that is known of an app.
	Describe(ctx context.Context, app string) (status.Description, error)
	// Explain answers one question about what an app may say or have.
	Explain(ctx context.Context, app string, q status.Question) ([]status.Reason, error)
}

// verdictRoutes adds the paths about guests' messages.
func (h handler) verdictRoutes(mux *http.ServeMux, d Verdicts) {
	answer := func(pattern string, do func(r *http.Request, app string) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := do(r, r.PathValue("app"))
			if err != nil {
				fail(w, http.StatusConflict, err)
				return
			}
			reply(w, v)
		})
	}
	answer("GET /v1/gateway", func(r *http.Request, _ string) (any, error) { return d.Gateway(r.Context()) })
	answer("GET /v1/apps/{app}/describe", func(r *http.Request, app string) (any, error) { return d.Describe(r.Context(), app) })
	answer("GET /v1/apps/{app}/explain", func(r *http.Request, app string) (any, error) {
		q := r.URL.Query()
		return d.Explain(r.Context(), app, status.Question{Kind: q.Get("kind"), To: q.Get("to"), Message: q.Get("message")})
	})
	answer("POST /v1/apps/{app}/lift", func(r *http.Request, app string) (any, error) {
		h.log.Warn("lift of a quarantine asked for", "app", app, "by", peer(r.Context()))
		return struct{}{}, d.Lift(r.Context(), app)
	})
}

// Gateway returns every guest as the gateway has it now.
func (c *Client) Gateway(ctx context.Context) ([]status.Member, error) {
	var all []status.Member
	return all, c.json(ctx, http.MethodGet, "gateway", &all)
}

// Lift lets a quarantined app run again.
func (c *Client) Lift(ctx context.Context, app string) error {
	return c.json(ctx, http.MethodPost, "apps/"+url.PathEscape(app)+"/lift", nil)
}

// Describe returns everything that is known of an app.
func (c *Client) Describe(ctx context.Context, app string) (status.Description, error) {
	var d status.Description
	return d, c.json(ctx, http.MethodGet, "apps/"+url.PathEscape(app)+"/describe", &d)
}

// Explain asks what an app may say or have, and why.
func (c *Client) Explain(ctx context.Context, app string, q status.Question) ([]status.Reason, error) {
	var all []status.Reason
	query := url.Values{"kind": {q.Kind}, "to": {q.To}, "message": {q.Message}}
	return all, c.json(ctx, http.MethodGet, "apps/"+url.PathEscape(app)+"/explain?"+query.Encode(), &all)
}
