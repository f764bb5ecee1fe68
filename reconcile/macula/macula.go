// Package macula asks the host VM's Macula, where there is one, for what holds
// its cluster together.
package macula

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
)

// The functions of module macula that are asked when they are exported.
const (
	EnsureDistributed = "ensure_distributed/0"
	GetCookie         = "get_cookie/0"
	SetCookie         = "set_cookie/1"
	MonitorNodes      = "monitor_nodes/0"
	UnmonitorNodes    = "unmonitor_nodes/0"
)

// Functions are all of them, as "name/arity".
func Functions() []string {
	return []string{EnsureDistributed, GetCookie, SetCookie, MonitorNodes, UnmonitorNodes}
}

// Caller makes rpc:call in the host VM.
type Caller interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// Platform is what module macula of one host VM does. The zero value is a host
// VM without it, where all of it is done by ourselves.
type Platform struct {
	Present bool
	exports map[string]bool // of Functions
}

// Detect asks the host VM which of Functions its module macula exports.
func Detect(ctx context.Context, host Caller) (Platform, error) {
	exported, loaded, err := Exports(ctx, host, "macula", Functions()...)
	if err != nil {
		return Platform{}, err
	}
	return Platform{Present: loaded, exports: exported}, nil
}

// Exports asks the host VM whether it has a module, which is loaded for that,
// and which of the functions, "name/arity", it exports.
func Exports(ctx context.Context, host Caller, module string, functions ...string) (exported map[string]bool, loaded bool, err error) {
	answer, err := health.Answer(host.Call(ctx, "code", "ensure_loaded", term.Atom(module)))
	if err != nil {
		return nil, false, fmt.Errorf("ask the host VM for module %s: %w", module, err)
	}
	if t, _ := answer.(term.Tuple); len(t) != 2 || t[0] != term.Atom("module") {
		return nil, false, nil
	}
	exported = map[string]bool{}
	for _, f := range functions {
		name, arity, err := split(f)
		if err != nil {
			return nil, true, err
		}
		answer, err := health.Answer(host.Call(ctx, "erlang", "function_exported", term.Atom(module), name, arity))
		if err != nil {
			return nil, true, fmt.Errorf("ask the host VM for %s:%s: %w", module, f, err)
		}
		exported[f] = answer == term.Term(term.Atom("true"))
	}
	return exported, true, nil
}

// split parts "name/arity".
func split(function string) (term.Atom, term.Int, error) {
	name, arity, _ := strings.Cut(function, "/")
	n, err := strconv.Atoi(arity)
	if err != nil {
		return "", 0, fmt.Errorf("function %q has no arity", function)
	}
	return term.Atom(name), term.Int(n), nil
}

// Serves reports whether Macula serves one of Functions.
func (p Platform) Serves(function string) bool { return p.exports[function] }

// Delegated are those of Functions that Macula serves, Own those that it does
// not, in their order; both are nil without Macula.
func (p Platform) Delegated() []string { return p.which(true) }

// Own is described at Delegated.
func (p Platform) Own() []string { return p.which(false) }

func (p Platform) which(served bool) (out []string) {
	for _, f := range Functions() {
		if p.Present && p.exports[f] == served {
			out = append(out, f)
		}
	}
	return out
}

// EnsureDistributed makes the host VM a node of its cluster. Without Macula
// there is nothing to make: a host VM that answers is a node; that it says so
// itself is asked all the same.
func (p Platform) EnsureDistributed(ctx context.Context, host Caller) error {
	if p.Serves(EnsureDistributed) {
		return p.do(ctx, host, "ensure_distributed")
	}
	answer, err := health.Answer(host.Call(ctx, "erlang", "is_alive"))
	if err != nil {
		return fmt.Errorf("ask the host VM whether it is a node: %w", err)
	}
	if answer != term.Term(term.Atom("true")) {
		return errors.New("the host VM says that it is no node: start it with -sname")
	}
	return nil
}

// MonitorNodes has Macula watch its nodes, if it serves that; our own watch is
// the gateway's and needs nobody to ask.
func (p Platform) MonitorNodes(ctx context.Context, host Caller) error {
	if !p.Serves(MonitorNodes) {
		return nil
	}
	return p.do(ctx, host, "monitor_nodes")
}

// UnmonitorNodes ends what MonitorNodes began.
func (p Platform) UnmonitorNodes(ctx context.Context, host Caller) error {
	if !p.Serves(UnmonitorNodes) {
		return nil
	}
	return p.do(ctx, host, "unmonitor_nodes")
}

// do calls a function without arguments that answers ok, true or {ok, _}.
func (p Platform) do(ctx context.Context, host Caller, function string) error {
	answer, err := health.Answer(host.Call(ctx, "macula", function))
	if err != nil {
		return fmt.Errorf("call macula:%s/0 on the host VM: %w", function, err)
	}
	if !agrees(answer) {
		return fmt.Errorf("call macula:%s/0 on the host VM: it answered %s", function, term.Brief(answer, 100))
	}
	return nil
}

func agrees(answer term.Term) bool {
	t, _ := answer.(term.Tuple)
	return answer == term.Term(term.Atom("ok")) || answer == term.Term(term.Atom("true")) || len(t) == 2 && t[0] == term.Term(term.Atom("ok"))
}

// Cookie is the cluster's cookie as Macula has it; empty when it does not
// serve that. No error holds what it answered.
func (p Platform) Cookie(ctx context.Context, host Caller) (app.Secret, error) {
	if !p.Serves(GetCookie) {
		return app.Secret{}, nil
	}
	answer, err := health.Answer(host.Call(ctx, "macula", "get_cookie"))
	if err != nil {
		return app.Secret{}, errors.New("call macula:get_cookie/0 on the host VM: it failed")
	}
	if t, _ := answer.(term.Tuple); len(t) == 2 && t[0] == term.Term(term.Atom("ok")) {
		answer = t[1]
	}
	text, ok := term.Text(answer)
	if !ok || text == "" || len(text) > 255 || text == "nocookie" {
		return app.Secret{}, errors.New("call macula:get_cookie/0 on the host VM: it answered no cookie")
	}
	return app.NewSecret(text), nil
}

// SetCookie makes cookie the cluster's: by Macula if it serves that, else in
// the host VM alone. No error holds the cookie.
func (p Platform) SetCookie(ctx context.Context, host Caller, cookie app.Secret) error {
	module := "erlang"
	if p.Serves(SetCookie) {
		module = "macula"
	}
	answer, err := health.Answer(host.Call(ctx, module, "set_cookie", term.Atom(cookie.Reveal())))
	if err == nil && agrees(answer) {
		return nil
	}
	return fmt.Errorf("call %s:set_cookie/1 on the host VM: it did not take the cookie", module)
}
