package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/macula"
)

// mesh fetches content through the host VM (images.Mesh).
func (p *parts) mesh(ctx context.Context, mcid string) (io.ReadCloser, error) {
	return fetchMesh(ctx, p.host, mcid)
}

// hostVM is the part of control.Host that mesh calls need.
type hostVM interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// spool runs in the host VM. What it fetches goes to a file: a release is
// larger than what one message of ours may be. Nothing stays bound.
const spool = `(fun() -> case macula_content:fetch(Mcid) of
	{ok, Bytes} when is_binary(Bytes) -> case file:write_file(Path, Bytes, [exclusive]) of ok -> ok; Error -> Error end;
	{error, _} = Error -> Error;
	_ -> {error, unexpected_answer} end end)().`

// fetchMesh has the host VM fetch mcid with macula_content:fetch/1.
func fetchMesh(ctx context.Context, host hostVM, mcid string) (io.ReadCloser, error) {
	exports, loaded, err := macula.Exports(ctx, host, "macula_content", "fetch/1")
	switch {
	case err != nil:
		return nil, err
	case !loaded:
		return nil, fmt.Errorf("%w: the module macula_content is not on the host VM's code path; start Macula there", images.ErrMesh)
	case !exports["fetch/1"]:
		return nil, fmt.Errorf("%w that fetches: its module macula_content exports no fetch/1; run another version of Macula there", images.ErrMesh)
	}
	dir, err := os.MkdirTemp("", "beamsandbox-mesh-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the host VM to write to: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears its own temporary folder
	// The host VM may run as any user: all may write here, and nobody can see
	// or guess the one name that is read.
	if err := os.Chmod(dir, 0o733|os.ModeSticky); err != nil {
		return nil, fmt.Errorf("open a folder to the host VM: %w", err)
	}
	path := filepath.Join(dir, rand.Text())
	answer, err := evaluate(ctx, host, spool, map[string]string{"Mcid": mcid, "Path": path})
	if err != nil {
		return nil, err
	}
	if answer != term.Term(term.Atom("ok")) {
		return nil, fmt.Errorf("macula_content:fetch/1 on the host VM answered %s", term.Brief(answer, 200))
	}
	// The descriptor outlives the name.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read what the host VM fetched: %w", err)
	}
	return f, nil
}

// evaluate runs an expression in the host VM (erl_eval(3)).
func evaluate(ctx context.Context, host hostVM, text string, variables map[string]string) (term.Term, error) {
	tokens, err := field(host.Call(ctx, "erl_scan", "string", term.String(text)))
	if err != nil {
		return nil, fmt.Errorf("prepare a call in the host VM: %w", err)
	}
	forms, err := field(host.Call(ctx, "erl_parse", "parse_exprs", tokens))
	if err != nil {
		return nil, fmt.Errorf("prepare a call in the host VM: %w", err)
	}
	var bindings term.List
	for name, value := range variables {
		bindings.Elems = append(bindings.Elems, term.Tuple{term.Atom(name), term.Binary(value)})
	}
	value, err := field(host.Call(ctx, "erl_eval", "exprs", forms, bindings))
	if err != nil {
		return nil, fmt.Errorf("call a function in the host VM: %w", err)
	}
	return value, nil
}

// field is the second element of an answer {ok, X, …} or {value, X, …}.
func field(answer term.Term, err error) (term.Term, error) {
	if answer, err = health.Answer(answer, err); err != nil {
		return nil, err
	}
	t, _ := answer.(term.Tuple)
	if len(t) < 2 || t[0] != term.Atom("ok") && t[0] != term.Atom("value") {
		return nil, errors.New("it answered " + term.Brief(answer, 200))
	}
	return t[1], nil
}
