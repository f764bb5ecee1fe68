//go:build integration

package runtime_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// hostErl is a host VM: a real erl that applies what it reads from its
// standard input, one base64 external term a line, and answers in kind.
type hostErl struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Scanner
}

const applyLoop = `F = fun F() -> case io:get_line("") of
  eof -> halt();
  L -> {M, Fun, A} = binary_to_term(base64:decode(string:trim(L))),
       V = try {value, apply(M, Fun, A)} catch C:R -> {caught, {C, R}} end,
       io:format("=> ~s~n", [base64:encode(term_to_binary(V))]), F() end end, F().`

func startHost(t *testing.T) *hostErl {
	t.Helper()
	cmd := exec.Command("erl", "-noshell", "-eval", applyLoop)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ERL_CRASH_DUMP_SECONDS=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("host VM: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	return &hostErl{in: in, out: lines}
}

func (h *hostErl) Call(_ context.Context, module, function string, args ...term.Term) (term.Term, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	call, err := term.Append(nil, term.Tuple{term.Atom(module), term.Atom(function), term.List{Elems: args}})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(h.in, base64.StdEncoding.EncodeToString(call)); err != nil {
		return nil, err
	}
	for h.out.Scan() {
		line, ok := strings.CutPrefix(h.out.Text(), "=> ")
		if !ok {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, err
		}
		answer, _, err := term.Decode(raw)
		if err != nil {
			return nil, err
		}
		pair := answer.(term.Tuple)
		if pair[0] != term.Atom("value") {
			return nil, fmt.Errorf("%s:%s/%d: %s", module, function, len(args), term.Format(pair[1]))
		}
		return pair[1], nil
	}
	return nil, io.ErrUnexpectedEOF
}

// ask is the text of a call's answer.
func (h *hostErl) ask(t *testing.T, module, function string, args ...term.Term) string {
	t.Helper()
	answer, err := h.Call(t.Context(), module, function, args...)
	if err != nil {
		t.Fatal(err)
	}
	return term.Format(answer)
}

// compileApp writes and compiles an application that keeps what config_change
// told it; value/0 answers with version.
func compileApp(t *testing.T, name, version string, deps ...string) string {
	t.Helper()
	ebin := filepath.Join(t.TempDir(), name+"-"+version, "ebin")
	if err := os.MkdirAll(ebin, 0o755); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(t.TempDir(), name+".erl")
	files := map[string]string{
		src: fmt.Sprintf(`-module(%[1]s).
-behaviour(application).
-behaviour(supervisor).
-export([start/2, stop/1, init/1, config_change/3, value/0]).
start(_, _) -> case application:get_env(%[1]s, refuse) of {ok, R} -> {error, R}; _ -> supervisor:start_link(?MODULE, []) end.
stop(_) -> ok.
init([]) -> {ok, {#{}, []}}.
config_change(C, N, R) -> persistent_term:put(%[1]s, {C, N, R}), case N of [{bad, _}] -> {error, refused}; _ -> ok end.
value() -> <<"%[2]s">>.
`, name, version),
		filepath.Join(ebin, name+".app"): fmt.Sprintf(
			`{application, %s, [{vsn, "%s"}, {modules, [%[1]s]}, {registered, []}, {applications, [%[3]s]}, {mod, {%[1]s, []}}, {env, [{own, 1}]}]}.`,
			name, version, strings.Join(append([]string{"kernel", "stdlib"}, deps...), ",")),
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("erlc", "-o", ebin, src).CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v: %s", err, out)
	}
	return ebin
}

func TestEmbeddedLife(t *testing.T) {
	host := startHost(t)
	room := runtime.NewEmbedded(host)
	before := host.ask(t, "code", "get_path")
	util := compileApp(t, "embed_util", "0.1.0")
	c := runtime.EmbeddedConfig{
		Name: "embed_demo", Version: "1.0.0", Digest: "d1",
		CodePaths: []string{compileApp(t, "embed_demo", "1.0.0", "embed_util"), util},
		Env:       map[string]term.Term{"http_port": term.Int(8082)},
	}
	want := runtime.EmbeddedApp{Name: "embed_demo", Version: "1.0.0", Digest: "d1", Running: true, CodePaths: c.CodePaths}
	for range 2 {
		got, err := room.Ensure(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	expect(t, host, `<<"1.0.0">>`, "embed_demo", "value")
	expect(t, host, `{ok, 8082}`, "application", "get_env", term.Atom("embed_demo"), term.Atom("http_port"))

	// Another daemon finds it, and sets what changed.
	room = runtime.NewEmbedded(host)
	list, err := room.List(t.Context())
	if err != nil || len(list) != 1 || !cmp.Equal(list[0], want) {
		t.Errorf("List: %+v, %v", list, err)
	}
	c.Digest, c.Env = "d2", map[string]term.Term{"http_port": term.Int(8083), "colour": term.Atom("red")}
	if _, err := room.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	expect(t, host, `{[{http_port, 8083}], [{colour, red}], []}`, "persistent_term", "get", term.Atom("embed_demo"))

	// A new version is loaded in place of the old one.
	c.Version, c.Digest = "1.1.0", "d3"
	c.CodePaths = []string{compileApp(t, "embed_demo", "1.1.0", "embed_util"), util}
	if _, err := room.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	expect(t, host, `<<"1.1.0">>`, "embed_demo", "value")

	// So is code of the same wish that was built anew, of a branch that moved.
	c.CodePaths = []string{compileApp(t, "embed_demo", "1.1.1", "embed_util"), util}
	if _, err := room.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	expect(t, host, `<<"1.1.1">>`, "embed_demo", "value")

	for range 2 {
		if err := room.Remove(t.Context(), "embed_demo"); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, host, before, "code", "get_path")
	expect(t, host, "undefined", "application", "get_env", term.Atom("bc_gitops"), term.Atom("sandboxd_apps"))
	for _, name := range []term.Atom{"embed_demo", "embed_util"} {
		expect(t, host, "false", "code", "is_loaded", name)
		expect(t, host, "undefined", "application", "get_key", name, term.Atom("vsn"))
	}
}

func expect(t *testing.T, host *hostErl, want, module, function string, args ...term.Term) {
	t.Helper()
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if got := host.ask(t, module, function, args...); squeeze(got) != squeeze(want) {
		t.Errorf("%s:%s: %s, want %s", module, function, got, want)
	}
}

func TestEmbeddedSharesDependencies(t *testing.T) {
	host := startHost(t)
	room := runtime.NewEmbedded(host)
	util := compileApp(t, "embed_util", "0.1.0")
	for _, name := range []string{"embed_a", "embed_b"} {
		c := runtime.EmbeddedConfig{
			Name: app.Name(name), Version: "1", Digest: "d",
			CodePaths: []string{compileApp(t, name, "1", "embed_util"), util},
		}
		if _, err := room.Ensure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := room.Remove(t.Context(), "embed_a"); err != nil { // it started embed_util
		t.Fatal(err)
	}
	expect(t, host, `<<"0.1.0">>`, "embed_util", "value")
	list, err := room.List(t.Context())
	if err != nil || len(list) != 1 || !list[0].Running {
		t.Errorf("List: %+v, %v", list, err)
	}
}

func TestEmbeddedErrors(t *testing.T) {
	host := startHost(t)
	room := runtime.NewEmbedded(host)
	before := host.ask(t, "code", "get_path")
	good := compileApp(t, "embed_demo", "1.0.0")
	for want, c := range map[string]runtime.EmbeddedConfig{
		"runs an application of that name by itself": {Name: "kernel", CodePaths: []string{good}},
		"add code path /nowhere":                     {Name: "embed_demo", CodePaths: []string{"/nowhere"}},
		"load it: ":                                  {Name: "embed_other", CodePaths: []string{good}},
		"start it: ":                                 {Name: "embed_demo", CodePaths: []string{good}, Env: map[string]term.Term{"refuse": term.Atom("busy")}},
	} {
		_, err := room.Ensure(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, want)
		}
	}
	expect(t, host, before, "code", "get_path")
	if list, err := room.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List after errors: %+v, %v", list, err)
	}
	if _, err := room.Ensure(t.Context(), runtime.EmbeddedConfig{Name: "embed_demo", Version: "1", Digest: "a", CodePaths: []string{good}}); err != nil {
		t.Fatal(err)
	}
	err := runtime.Reconfigure(t.Context(), host, "embed_demo", nil, map[string]term.Term{"bad": term.Int(1)})
	if err == nil || !strings.Contains(err.Error(), "config_change/3 answered refused") {
		t.Errorf("a refused change: %v", err)
	}
}
