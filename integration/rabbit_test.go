//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// rabbitVersion is that of Debian 12's package.
const rabbitVersion = "3.10.8"

// TestRabbitMQ: software that nobody here wrote, out of Debian's package, runs
// as a guest in 512 MB and answers on the port that it declares.
func TestRabbitMQ(t *testing.T) {
	data := packRelease(t, "rabbit", debianPaths(t)...)
	tarball := filepath.Join(t.TempDir(), "rabbit.tar.gz")
	must(t, os.WriteFile(tarball, data, 0o644))
	digest := sha256.Sum256(data)
	sum := hex.EncodeToString(digest[:])
	w.haveBeside(t, map[string]string{"rabbit": fmt.Sprintf(`#{name => rabbit, version => <<"%s">>, isolation => vm,
  source => #{type => release, url => <<"file://%s">>, sha256 => <<"%s">>},
  vm_config => #{memory_limit => 512},
  env => #{'RABBITMQ_NODENAME' => <<"%s">>, 'RABBITMQ_MNESIA_BASE' => <<"/tmp/mnesia">>, 'RABBITMQ_LOGS' => <<"-">>,
    'RABBITMQ_LOG_BASE' => <<"/tmp/log">>, 'RABBITMQ_ENABLED_PLUGINS_FILE' => <<"/tmp/plugins">>,
    'RABBITMQ_FEATURE_FLAGS_FILE' => <<"/tmp/flags">>, 'RABBITMQ_GENERATED_CONFIG_DIR' => <<"/tmp/config">>},
  health => #{type => tcp, port => 5672}}.
`, rabbitVersion, tarball, sum, w.Node("rabbit"))})
	must(t, w.daemon.Await(within(t, time.Minute), "its memory is measured", func(h status.Host) bool {
		return appOf(h, "rabbit").Memory > 0
	}))
	a := w.daemon.App(t.Context(), "rabbit")
	t.Logf("healthy with %d MB, from %s", a.Memory>>20, a.Image)
	if a.Memory > 512<<20 {
		t.Errorf("it uses %d bytes", a.Memory)
	}
	if n := memoryLimit(t, a.Pid); n != 512<<20 {
		t.Errorf("the kernel holds it to %d bytes, want 512 MB", n)
	}
	greetAMQP(t, "127.0.0.1:5672")
}

// greetAMQP opens a connection as AMQP 0-9-1 has it (section 4.2.2, protocol
// header): the server answers with connection.start, class 10, method 10.
func greetAMQP(t *testing.T, address string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 30*time.Second)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = c.Write([]byte("AMQP\x00\x00\x09\x01"))
	must(t, err)
	frame := make([]byte, 512)
	n, err := io.ReadAtLeast(c, frame, 200)
	must(t, err)
	if !bytes.Equal(frame[:1], []byte{1}) || !bytes.Equal(frame[7:11], []byte{0, 10, 0, 10}) || !bytes.Contains(frame[:n], []byte("RabbitMQ")) {
		t.Errorf("the server answered %q", frame[:n])
	}
}

// debianPaths are the code folders of RabbitMQ out of Debian's packages.
func debianPaths(t *testing.T) []string {
	t.Helper()
	debian, err := filepath.Abs("../build/debian/rabbitmq")
	must(t, err)
	plugins, err := filepath.Glob(debian + "/usr/lib/rabbitmq/lib/*/plugins/*/ebin")
	must(t, err)
	libs, err := filepath.Glob(debian + "/usr/lib/erlang/lib/*/ebin")
	must(t, err)
	if len(plugins) == 0 || len(libs) == 0 {
		t.Fatalf("%s holds no packages: run make setup", debian)
	}
	return append(plugins, libs...)
}

// packRelease makes a release tarball of an application on these code paths.
func packRelease(t *testing.T, name string, paths ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("testdata/rabbit/pack.erl")
	must(t, err)
	for _, c := range [][]string{
		{"erlc", "-o", dir, source},
		append(append([]string{"erl", "-noinput", "-pa", dir}, eachAfter("-pa", paths...)...), "-run", "pack", "main", filepath.Join(dir, "rel"), name),
	} {
		if out, err := exec.CommandContext(t.Context(), c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c[0], err, out)
		}
	}
	return tarGzip(t, filepath.Join(dir, "rel"))
}

func eachAfter(flag string, values ...string) (out []string) {
	for _, v := range values {
		out = append(out, flag, v)
	}
	return out
}

func tarGzip(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	must(t, errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), z.Close()))
	return out.Bytes()
}
