package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"beamsandbox/reconcile/status"
)

// Builds is what the handler asks of a daemon that builds. Logs are lines
// "STEP | TEXT"; TEXT comes from the source and must be escaped where a person
// sees it.
type Builds interface {
	// BuildLog copies the log of app's last build to w, and what is added while
	// it goes on when follow is set.
	BuildLog(ctx context.Context, app string, follow bool, w io.Writer) error
	// BuildLogs copies what every build prints to w, each line after its app,
	// until ctx ends.
	BuildLogs(ctx context.Context, w io.Writer) error
}

// buildRoutes adds the paths about builds.
func (h handler) buildRoutes(mux *http.ServeMux, d Builds) {
	mux.HandleFunc("GET /v1/apps/{app}/build", func(w http.ResponseWriter, r *http.Request) {
		h.text(w, r, func(out io.Writer) error {
			return d.BuildLog(r.Context(), r.PathValue("app"), r.URL.Query().Get("follow") == "1", out)
		})
	})
	mux.HandleFunc("GET /v1/builds", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK) // nothing may be said for long
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		if err := d.BuildLogs(r.Context(), &flusher{w: w}); err != nil {
			h.log.Info("end of following builds", "err", err)
		}
	})
}

// text streams what copy writes; an error before the first byte is the answer.
func (h handler) text(w http.ResponseWriter, r *http.Request, copy func(io.Writer) error) {
	out := &flusher{w: w}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := copy(out); err != nil && !out.wrote && r.Context().Err() == nil {
		fail(w, http.StatusNotFound, err)
	}
}

// A said is one message of a build that is answered while it goes on: a part
// of its log, then the image or why there is none.
type said struct {
	Log   string        `json:"log,omitempty"`
	Image *status.Image `json:"image,omitempty"`
	Error string        `json:"error,omitempty"`
}

// build answers with the log as it is written, then the image.
func (h handler) build(w http.ResponseWriter, r *http.Request, d Images) {
	h.log.Info("images asked for", "what", r.URL.Path, "by", peer(r.Context()))
	// The log begins before the last bytes of the source were looked at.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &flusher{w: w}
	messages := json.NewEncoder(out)
	log := logMessages{messages}
	q := r.URL.Query()
	i, err := d.BuildImage(r.Context(), q.Get("app"), q.Get("version"), r.Body, log)
	switch {
	case err == nil:
		messages.Encode(said{Image: &i}) //nolint:errcheck // the client is gone
	case out.wrote:
		messages.Encode(said{Error: err.Error()}) //nolint:errcheck // the client is gone
	default:
		fail(w, http.StatusConflict, err)
	}
}

// logMessages writes a log as messages.
type logMessages struct{ messages *json.Encoder }

func (l logMessages) Write(p []byte) (int, error) {
	return len(p), l.messages.Encode(said{Log: string(p)})
}

// BuildLog copies the log of app's last build to w, and what is added while it
// goes on when follow is set.
func (c *Client) BuildLog(ctx context.Context, app string, follow bool, w io.Writer) error {
	path := "apps/" + url.PathEscape(app) + "/build"
	if follow {
		path += "?follow=1"
	}
	return c.stream(ctx, path, nil, w)
}

// BuildLogs copies what every build prints to w until ctx ends, each line
// after its app. Ready is called once nothing is missed any more.
func (c *Client) BuildLogs(ctx context.Context, ready func(), w io.Writer) error {
	return c.stream(ctx, "builds", ready, w)
}

// stream copies an answer that is text to w; the end of ctx is no error.
func (c *Client) stream(ctx context.Context, path string, ready func(), w io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, path)
	if err == nil {
		defer body.Close()
		if ready != nil {
			ready()
		}
		_, err = io.Copy(w, body)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// BuildImage sends a source as a tar archive and has it built; the build's log
// goes to log as it is written.
func (c *Client) BuildImage(ctx context.Context, app, version string, source io.Reader, log io.Writer) (status.Image, error) {
	body, err := c.request(ctx, http.MethodPost, query("images/build", "app", app, "version", version), source)
	if err != nil {
		return status.Image{}, err
	}
	defer body.Close()
	for messages := json.NewDecoder(body); ; {
		var m said
		if err := messages.Decode(&m); err != nil {
			return status.Image{}, fmt.Errorf("build %s: sandboxd at %s went away before it was done: %w", app, c.socket, err)
		}
		switch {
		case m.Error != "":
			return status.Image{}, errors.New(m.Error)
		case m.Image != nil:
			return *m.Image, nil
		}
		if _, err := io.WriteString(log, m.Log); err != nil {
			return status.Image{}, fmt.Errorf("print the log of the build: %w", err)
		}
	}
}
