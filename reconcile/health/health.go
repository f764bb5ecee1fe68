// Package health asks a running app whether it is well.
package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// How often and how long an app is asked that declares nothing.
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 5 * time.Second
)

// A Target is an app that can be asked: through the gateway for a guest,
// directly for an app in the host VM.
type Target interface {
	// Call is rpc:call in the app's node; {badrpc, Reason} is an error or a term.
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
	HTTP(ctx context.Context, port uint16, path string) (status int, err error)
	TCP(ctx context.Context, port uint16) error
}

// Failure is an app that does not pass a check. Own says that it is the check
// the app declared itself.
type Failure struct {
	Check string // ping, which_applications, http, tcp, custom
	Own   bool
	Err   error
}

func (f *Failure) Error() string { return f.Check + ": " + f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Check asks once: does the node answer, does the application run, and does
// it pass the check that it declares (h may be nil). It returns the last
// answer for status, or a *Failure.
func Check(ctx context.Context, name app.Name, h *app.Health, t Target) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout(h))
	defer cancel()
	if err := ping(ctx, t); err != nil {
		return "", &Failure{"ping", false, err}
	}
	if err := Running(ctx, name, t); err != nil {
		return "", &Failure{"which_applications", false, err}
	}
	if h == nil {
		return "running", nil
	}
	answer, err = declared(ctx, h, t)
	if err != nil {
		return "", &Failure{string(h.Type), true, err}
	}
	return answer, nil
}

// Interval is the time between two checks.
func Interval(h *app.Health) time.Duration {
	if h == nil || h.Interval <= 0 {
		return DefaultInterval
	}
	return h.Interval
}

// Timeout is how long one check may take.
func Timeout(h *app.Health) time.Duration {
	if h == nil || h.Timeout <= 0 {
		return DefaultTimeout
	}
	return h.Timeout
}

func ping(ctx context.Context, t Target) error {
	_, err := Answer(t.Call(ctx, "erlang", "node"))
	return err
}

// ErrNotRunning says that the node answers and the application does not run.
var ErrNotRunning = errors.New("the application does not run")

// Running asks whether the application runs in its node.
func Running(ctx context.Context, name app.Name, t interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}) error {
	answer, err := Answer(t.Call(ctx, "application", "which_applications"))
	if err != nil {
		return err
	}
	list, ok := answer.(term.List)
	if !ok {
		return fmt.Errorf("which_applications answered no list: %s", clip(answer))
	}
	elems, _ := list.Proper()
	for _, e := range elems {
		if tuple, ok := e.(term.Tuple); ok && len(tuple) == 3 && tuple[0] == term.Term(term.Atom(name)) {
			return nil
		}
	}
	return ErrNotRunning
}

// declared makes the check that the app asks for.
func declared(ctx context.Context, h *app.Health, t Target) (string, error) {
	switch h.Type {
	case app.HealthHTTP:
		code, err := t.HTTP(ctx, h.Port, h.Path)
		if err != nil {
			return "", err
		}
		if code < 200 || code > 399 {
			return "", fmt.Errorf("GET %s on port %d answered %d", h.Path, h.Port, code)
		}
		return fmt.Sprintf("http %d", code), nil
	case app.HealthTCP:
		return "tcp ok", t.TCP(ctx, h.Port)
	case app.HealthCustom:
		return custom(ctx, h.Module, t)
	}
	return "", fmt.Errorf("there is no check of type %s", h.Type)
}

// custom calls Module:health_check/0: ok, true and {ok, _} are well, all else
// is not.
func custom(ctx context.Context, module string, t Target) (string, error) {
	answer, err := Answer(t.Call(ctx, module, "health_check"))
	if err != nil {
		return "", err
	}
	if tuple, ok := answer.(term.Tuple); ok && len(tuple) == 2 && tuple[0] == term.Term(term.Atom("ok")) {
		return "ok", nil
	}
	switch answer {
	case term.Term(term.Atom("ok")), term.Term(term.Atom("healthy")), term.Term(term.Atom("true")):
		return "ok", nil
	}
	return "", fmt.Errorf("%s:health_check() answered %s", module, clip(answer))
}

// Answer turns {badrpc, Reason} into an error: callers differ in whether they
// have done so already.
func Answer(t term.Term, err error) (term.Term, error) {
	if err != nil {
		return nil, err
	}
	if tuple, ok := t.(term.Tuple); ok && len(tuple) == 2 && tuple[0] == term.Term(term.Atom("badrpc")) {
		return nil, fmt.Errorf("rpc: %s", clip(tuple[1]))
	}
	return t, nil
}

// clip is a term as one short line.
func clip(t term.Term) string {
	const most = 200
	text := term.Format(t)
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
