package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
)

// fakeHost is a host VM with Macula or without, as far as fetchMesh asks.
type fakeHost struct {
	macula bool
	old    bool      // and its macula_content has no fetch/1
	answer term.Term // of the fetch; nil: it writes "release"
}

func (h fakeHost) Call(_ context.Context, module, _ string, args ...term.Term) (term.Term, error) {
	switch {
	case module == "code" && h.macula:
		return term.Tuple{term.Atom("module"), args[0]}, nil
	case module == "erlang":
		return term.Atom(map[bool]string{true: "false", false: "true"}[h.old]), nil
	case module == "code":
		return term.Tuple{term.Atom("error"), term.Atom("nofile")}, nil
	case module != "erl_eval":
		return term.Tuple{term.Atom("ok"), term.List{}, term.Int(1)}, nil
	case h.answer != nil:
		return term.Tuple{term.Atom("value"), h.answer, term.List{}}, nil
	}
	for _, b := range args[1].(term.List).Elems {
		if pair := b.(term.Tuple); pair[0] == term.Atom("Path") {
			path, _ := term.Text(pair[1])
			if err := os.WriteFile(path, []byte("release"), 0o644); err != nil {
				return nil, err
			}
		}
	}
	return term.Tuple{term.Atom("value"), term.Atom("ok"), term.List{}}, nil
}

func TestFetchMesh(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	body, err := fetchMesh(t.Context(), fakeHost{macula: true}, "mcid1-x")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || string(data) != "release" {
		t.Errorf("fetched %q, %v", data, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := fetchMesh(t.Context(), fakeHost{}, "mcid1-x"); !errors.Is(err, images.ErrMesh) {
		t.Errorf("no Macula: %v", err)
	}
	if _, err := fetchMesh(t.Context(), fakeHost{macula: true, old: true}, "mcid1-x"); !errors.Is(err, images.ErrMesh) || !strings.Contains(err.Error(), "no fetch/1") {
		t.Errorf("a Macula that fetches nothing: %v", err)
	}
	refusal := term.Tuple{term.Atom("error"), term.Atom("not_found")}
	if _, err := fetchMesh(t.Context(), fakeHost{macula: true, answer: refusal}, "mcid1-x"); err == nil || !strings.Contains(err.Error(), "{error,not_found}") {
		t.Errorf("not in the mesh: %v", err)
	}
}
