package runtime

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beamsandbox/reconcile/app"
)

func overTLS() Config {
	c := pulse()
	c.TLS = &TLS{CA: "AUTHORITY", Node: app.NewSecret("CERTANDKEY")}
	return c
}

func TestGuestOverTLS(t *testing.T) {
	args := strings.Join(command(overTLS(), 2, releaseFiles{}), " ")
	if want := "-proto_dist inet_tls -ssl_dist_optfile /run/beamsandbox/ssl_dist.config"; !strings.Contains(args, want) {
		t.Errorf("arguments %s", args)
	}
	if strings.Contains(strings.Join(command(pulse(), 2, releaseFiles{}), " "), "tls") {
		t.Error("a plain guest speaks TLS")
	}
	files := map[string]guestFile{}
	for _, f := range guestFiles(overTLS()) {
		files[f.path] = f
	}
	for path, text := range map[string]string{"run/tls/ca.pem": "AUTHORITY", "run/tls/node.pem": "CERTANDKEY"} {
		if f := files[path]; string(f.data) != text || !f.owned || f.writable {
			t.Errorf("%s is %+v", path, f)
		}
	}
	options := string(files["run/ssl_dist.config"].data)
	for _, want := range []string{"{verify,verify_peer}", "{fail_if_no_peer_cert,true}", `{keyfile,"/run/beamsandbox/tls/node.pem"}`, `{cacertfile,"/run/beamsandbox/tls/ca.pem"}`} {
		if !strings.Contains(options, want) {
			t.Errorf("%s lacks %s", options, want)
		}
	}
}

func TestReleaseWithoutSSL(t *testing.T) {
	without := holding(map[string]string{"start.boot": "$ROOT/lib/stdlib-4.2/ebin"})
	_, _, err := bootFiles(overTLS(), without)
	if err == nil || !strings.Contains(err.Error(), "holds no application ssl") {
		t.Errorf("got %v", err)
	}
	if _, _, err := bootFiles(pulse(), without); err != nil {
		t.Errorf("a plain guest: %v", err)
	}
	if _, _, err := bootFiles(overTLS(), holding(map[string]string{"start.boot": "$ROOT/lib/ssl-10.8.7/ebin"})); err != nil {
		t.Errorf("with ssl: %v", err)
	}
}

func TestSetTLSAndCookie(t *testing.T) {
	tasks := &Tasks{cfg: TasksConfig{StateDir: t.TempDir()}}
	fresh := TLS{CA: "AUTHORITY", Node: app.NewSecret("ANOTHER")}
	set := func(given TLS) bool {
		t.Helper()
		changed, err := tasks.SetTLS(context.Background(), "pulse", given)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if err := tasks.SetCookie(t.Context(), "pulse", app.NewSecret("x")); err != nil || set(fresh) {
		t.Errorf("without a guest: %v", err)
	}
	dir := tasks.state("pulse")
	for _, f := range guestFiles(overTLS()) {
		if err := dir.write(f, uint32(os.Geteuid())); err != nil {
			t.Fatal(err)
		}
	}
	if !set(fresh) || set(fresh) {
		t.Error("what is new and what is not are not told apart")
	}
	if err := tasks.SetCookie(t.Context(), "pulse", app.NewSecret("NEWCOOKIE")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"run/tls/node.pem": "ANOTHER", "run/tls/ca.pem": "AUTHORITY", "home/.erlang.cookie": "NEWCOOKIE"} {
		full := filepath.Join(string(dir), path)
		got, err := os.ReadFile(full)
		info, statErr := os.Stat(full)
		if err != nil || statErr != nil || string(got) != want || info.Mode().Perm() != 0o400 {
			t.Errorf("%s holds %q, mode %v, %v", path, got, info, err)
		}
		left, _ := os.ReadDir(filepath.Dir(full))
		if slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".new-") }) {
			t.Errorf("%s: something was left behind", path)
		}
	}
}
