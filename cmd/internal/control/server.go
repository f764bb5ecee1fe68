package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Listen makes the socket: directory 0750, socket 0660 of group gid (-1: the
// daemon's own). A socket file that nobody answers on is replaced; one that
// answers is an error.
func Listen(path string, gid int) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the control socket's folder: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: another sandboxd answers there; stop it or configure another control_socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the stale control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(path, 0o660), os.Chown(path, -1, gid)); err != nil {
		l.Close()
		return nil, fmt.Errorf("set the control socket's mode: %w", err)
	}
	return l, nil
}

// Serve answers on l until ctx ends, then gives running answers a moment.
func Serve(ctx context.Context, l net.Listener, d Daemon, log *slog.Logger) error {
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &http.Server{
		Handler:           Handler(d, log),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
	}
	stop := context.AfterFunc(ctx, func() {
		cancel()
		grace, done := context.WithTimeout(context.Background(), 2*time.Second)
		defer done()
		if err := s.Shutdown(grace); err != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control socket: %w", err)
	}
	return nil
}

// Handler is the protocol as an http.Handler.
func Handler(d Daemon, log *slog.Logger) http.Handler {
	h := handler{daemon: d, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", h.status)
	mux.HandleFunc("GET /v1/plan", h.plan)
	mux.HandleFunc("GET /v1/events", h.events)
	mux.HandleFunc("GET /v1/apps/{app}/logs", h.logs)
	mux.HandleFunc("POST /v1/sync", h.sync)
	mux.HandleFunc("POST /v1/drain", h.drain)
	if d, ok := d.(Verdicts); ok {
		h.verdictRoutes(mux, d)
	}
	if d, ok := d.(Images); ok {
		h.imageRoutes(mux, d)
	}
	if d, ok := d.(Doctor); ok {
		mux.HandleFunc("GET /v1/doctor", h.doctor(d))
	}
	if d, ok := d.(Builds); ok {
		h.buildRoutes(mux, d)
	}
	if d, ok := d.(Certificates); ok {
		h.certificateRoutes(mux, d)
	}
	if d, ok := d.(Cookies); ok {
		h.cookieRoutes(mux, d)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("%s %s is not part of protocol %s; sandboxctl and sandboxd should be of one version", r.Method, r.URL.Path, Version))
	})
	return mux
}

type handler struct {
	daemon Daemon
	log    *slog.Logger
}

func (h handler) status(w http.ResponseWriter, _ *http.Request) {
	reply(w, h.daemon.Status())
}

func (h handler) plan(w http.ResponseWriter, r *http.Request) {
	steps, err := h.daemon.Plan(r.Context())
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	reply(w, steps)
}

func (h handler) sync(w http.ResponseWriter, r *http.Request) {
	h.log.Info("sync asked for", "by", peer(r.Context()))
	h.daemon.Trigger()
	reply(w, struct{}{})
}

func (h handler) drain(w http.ResponseWriter, r *http.Request) {
	h.log.Info("drain asked for", "by", peer(r.Context()))
	if err := h.daemon.Drain(r.Context()); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, struct{}{})
}

func (h handler) logs(w http.ResponseWriter, r *http.Request) {
	h.text(w, r, func(out io.Writer) error {
		return h.daemon.Logs(r.Context(), r.PathValue("app"), r.URL.Query().Get("follow") == "1", out)
	})
}

func (h handler) events(w http.ResponseWriter, r *http.Request) {
	out := &flusher{w: w}
	w.Header().Set("Content-Type", "text/event-stream")
	events := h.daemon.Subscribe(r.Context()) // it stands before the client hears so
	fmt.Fprint(out, ": following\n\n")
	for e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			h.log.Error("encode an event", "err", err)
			continue
		}
		if _, err := fmt.Fprintf(out, "data: %s\n\n", line); err != nil {
			return
		}
	}
}

// flusher sends each write at once, so that followers see lines as they come.
type flusher struct {
	w     http.ResponseWriter
	wrote bool
}

func (f *flusher) Write(p []byte) (int, error) {
	f.wrote = true
	n, err := f.w.Write(p)
	if flush, ok := f.w.(http.Flusher); ok {
		flush.Flush()
	}
	return n, err
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(failure{Error: err.Error()}) //nolint:errcheck // the client is gone
}

type peerKey struct{}

// withPeer notes who is on the other end (SO_PEERCRED, unix(7)), so that
// every change is logged with who asked for it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	raw.Control(func(fd uintptr) { //nolint:errcheck // cred stays nil
		cred, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if cred == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, fmt.Sprintf("uid %d pid %d", cred.Uid, cred.Pid))
}

func peer(ctx context.Context) string {
	who, _ := ctx.Value(peerKey{}).(string)
	return who
}
