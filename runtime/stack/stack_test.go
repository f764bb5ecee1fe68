package stack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSupported(t *testing.T) {
	for version, want := range map[string]bool{
		"1.6.20~ds1": true, "v1.7.24": true, "1.7.35": true, "2.0.0": true, "v2.4.2": true, "2.4.2+unknown": true,
		"1.5.9": false, "1.8.0": false, "3.0.0": false, "": false, "banana": false, "1": false,
	} {
		if got := supported(version); got != want {
			t.Errorf("supported(%q) = %v, want %v", version, got, want)
		}
	}
}

func TestMissingBinaryNamesItAndTheWayOut(t *testing.T) {
	bin := t.TempDir()
	_, err := Open(t.Context(), Config{Bin: bin, Root: t.TempDir(), RunDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(bin, "containerd")) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error %v, want one that names the file and make build", err)
	}
}

func TestMissingSocketIsSaidPlainly(t *testing.T) {
	_, err := Open(t.Context(), Config{Address: filepath.Join(t.TempDir(), "c.sock")})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("error %v", err)
	}
}

func TestLongRunDirIsRefused(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(t.Context(), Config{Bin: bin, Root: t.TempDir(), RunDir: filepath.Join(t.TempDir(), strings.Repeat("x", 100))})
	if err == nil || !strings.Contains(err.Error(), "choose a shorter one") {
		t.Errorf("error %v, want one that asks for a shorter path", err)
	}
}

func TestRenderKeepsEverythingPrivate(t *testing.T) {
	text := render(Config{Root: "/var/lib/x", RunDir: "/run/x"})
	for _, want := range []string{
		`root = "/var/lib/x/containerd"`, `state = "/run/x/state"`, `address = "/run/x/containerd.sock"`,
		`address = "/run/x/containerd.sock.ttrpc"`, `socket_dir = "/run/x/s"`, `"io.containerd.grpc.v1.cri"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "/run/containerd") {
		t.Error("the machine's own folder is named")
	}
}

func TestEnvironmentOfContainerd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	for _, kv := range environ("/b") {
		if strings.HasPrefix(kv, "NOTIFY_SOCKET") {
			t.Error("NOTIFY_SOCKET reaches containerd")
		}
	}
	if !strings.HasPrefix(environ("/b")[0], "PATH=/b:") {
		t.Error("our own binaries do not come first")
	}
}

func TestUserNamespacesAreAKernelsChoice(t *testing.T) {
	for limit, want := range map[string]bool{"0\n": false, "96365\n": true} {
		path := filepath.Join(t.TempDir(), "max_user_namespaces")
		if err := os.WriteFile(path, []byte(limit), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := makesUserNamespaces(path); got != want {
			t.Errorf("limit %q: %v, want %v", limit, got, want)
		}
	}
	if makesUserNamespaces(filepath.Join(t.TempDir(), "missing")) {
		t.Error("a kernel without user namespaces makes some")
	}
}
