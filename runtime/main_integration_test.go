//go:build integration

package runtime_test

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
	"beamsandbox/runtime/stack"
)

const (
	probeImage = "runtime.test/probe:1"
	beamImage  = "runtime.test/beam:1"
	testParent = "/beamsandbox-runtime-test"
)

// shared is the one containerd of this package's tests, and its folders.
var shared struct {
	dir   string
	stack *stack.Stack
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("/tmp", "rtt")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		return 1, err
	}
	bin, err := filepath.Abs("../bin")
	if err != nil {
		return 1, err
	}
	s, err := stack.Open(context.Background(), stack.Config{Bin: bin, Root: dir + "/root", RunDir: dir + "/r", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := s.Stop(context.Background()); stopErr != nil && err == nil {
			code, err = 1, stopErr
		}
	}()
	shared.dir, shared.stack = dir, s
	if err := importImages(s.Client()); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func importImages(client *containerd.Client) error {
	probe, err := buildProbe()
	if err != nil {
		return err
	}
	layer := newLayer()
	layer.file("app/erts-1/bin/erlexec", probe, 0o755)
	layer.file("probe", probe, 0o755)
	if err := layer.load(client, probeImage); err != nil {
		return err
	}
	layer, err = beamLayer()
	if err != nil {
		return err
	}
	return layer.load(client, beamImage)
}

func buildProbe() ([]byte, error) {
	out := filepath.Join(shared.dir, "probe")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the probe: %w: %s", err, text)
	}
	return os.ReadFile(out)
}

// layer is a tar in the making.
type layer struct {
	buf  bytes.Buffer
	w    *tar.Writer
	seen map[string]bool
	err  error
}

func newLayer() *layer {
	l := &layer{seen: map[string]bool{}}
	l.w = tar.NewWriter(&l.buf)
	return l
}

func (l *layer) file(path string, data []byte, mode int64) {
	if l.err != nil || l.seen[path] {
		return
	}
	l.seen[path] = true
	for i, r := range path {
		if dir := path[:i]; r == '/' && !l.seen[dir] {
			l.seen[dir] = true
			l.err = l.w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755})
		}
	}
	if l.err == nil {
		l.err = l.w.WriteHeader(&tar.Header{Name: path, Size: int64(len(data)), Mode: mode})
	}
	if l.err == nil {
		_, l.err = l.w.Write(data)
	}
}

func (l *layer) copy(from, to string) {
	data, err := os.ReadFile(from)
	if err != nil {
		l.err = err
		return
	}
	l.file(strings.TrimPrefix(to, "/"), data, 0o755)
}

func (l *layer) load(client *containerd.Client, ref string) error {
	if l.err != nil {
		return l.err
	}
	if err := l.w.Close(); err != nil {
		return err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(l.buf.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, content)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config.OS, config.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := tarball.Write(tag, img, &out); err != nil {
		return err
	}
	_, err = client.Import(context.Background(), &out)
	return err
}

// beamLayer is a release of nothing but kernel and stdlib, from the machine's
// own Erlang.
func beamLayer() (*layer, error) {
	l := newLayer()
	const otp = "/usr/lib/erlang"
	erts, err := filepath.Glob(otp + "/erts-*")
	if err != nil || len(erts) != 1 {
		return nil, fmt.Errorf("find Erlang: %v %w", erts, err)
	}
	for _, bin := range []string{"beam.smp", "erlexec", "erl_child_setup", "inet_gethost"} {
		path := filepath.Join(erts[0], "bin", bin)
		l.copy(path, "app/erts-1/bin/"+bin)
		if err := l.libraries(path); err != nil {
			return nil, err
		}
	}
	l.copy(otp+"/bin/start_clean.boot", "app/releases/1/start.boot")
	l.file("app/releases/1/sys.config", []byte("[{kernel,[{logger_level,info}]}].\n"), 0o644)
	l.file("app/releases/1/vm.args", []byte("+A 1\n"), 0o644)
	for _, lib := range []string{"kernel", "stdlib"} {
		dirs, err := filepath.Glob(otp + "/lib/" + lib + "-*/ebin")
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					l.copy(path, "app"+strings.TrimPrefix(path, otp))
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return l, l.err
}

// libraries copies what the dynamic linker loads for path.
func (l *layer) libraries(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	l.copy("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, lib := range needed {
		at := slices.IndexFunc(libraryDirs, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, lib))
			return err == nil
		})
		if at < 0 {
			return fmt.Errorf("find %s", lib)
		}
		from := filepath.Join(libraryDirs[at], lib)
		if !l.seen["lib/x86_64-linux-gnu/"+lib] {
			l.copy(from, "lib/x86_64-linux-gnu/"+lib)
			if err := l.libraries(from); err != nil {
				return err
			}
		}
	}
	return nil
}

var libraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64"}

// room is a Tasks of one test, which must leave nothing.
type room struct {
	*runtime.Tasks
	t     *testing.T
	cfg   runtime.TasksConfig
	names []app.Name
}

func newRoom(t *testing.T) *room {
	t.Helper()
	dir := t.TempDir()
	parent := testParent + "-" + strings.ToLower(strings.Map(plain, t.Name()))
	r := &room{t: t, cfg: runtime.TasksConfig{
		StateDir: dir + "/state", LogDir: dir + "/log", CgroupParent: parent, UIDBase: 1_500_000_000,
		Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}}
	r.Tasks = runtime.NewTasks(shared.stack, r.cfg)
	t.Cleanup(r.clean)
	return r
}

func plain(r rune) rune {
	if r == '/' {
		return '-'
	}
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// clean removes every guest of the room and counts what is left.
func (r *room) clean() {
	ctx := context.Background()
	for _, name := range r.names {
		if err := r.Remove(ctx, name); err != nil {
			r.t.Error(err)
		}
	}
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
	r.residue()
}

// residue fails the test for each thing that is left of its guests.
func (r *room) residue() {
	r.t.Helper()
	ctx := shared.stack.Namespaced(context.Background())
	client := shared.stack.Client()
	containers, err := client.Containers(ctx)
	if err != nil {
		r.t.Error(err)
	}
	for _, c := range containers {
		r.t.Errorf("container %s is left", c.ID())
	}
	for _, pattern := range []string{
		"/sys/fs/cgroup/*" + r.cfg.CgroupParent, r.cfg.StateDir + "/*", r.cfg.LogDir + "/*",
		shared.dir + "/r/state/io.containerd.runtime.v2.task/*/*", shared.dir + "/r/runc/*/*", shared.dir + "/r/s/*",
	} {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) > 0 {
			r.t.Errorf("left: %v %v", left, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		r.t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, r.cfg.StateDir) || strings.Contains(line, shared.dir) {
			r.t.Errorf("mount is left: %s", line)
		}
	}
}

// guest is a probe that runs args.
func guest(name string, args ...string) runtime.Config {
	return runtime.Config{
		Name: app.Name(name), Digest: "d1", Image: probeImage, Hostname: "vm",
		Release:    runtime.Release{Name: name, Version: "1", ERTS: "1", Root: "/app"},
		VM:         app.VMConfig{ExtraArgs: append([]string{"probe"}, args...)},
		Cookie:     app.NewSecret("guest-cookie-0123456789"),
		Privileges: policy.Privileges{Pids: 128, OpenFiles: 4096, TmpBytes: 4 << 20, UserNS: true},
		Labels:     map[string]string{"source": "test"},
	}
}

func (r *room) ensure(c runtime.Config) runtime.Task {
	r.t.Helper()
	r.names = append(r.names, c.Name)
	task, err := r.Ensure(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return task
}

// waitLog reads the guest's log until it holds want.
func (r *room) waitLog(name app.Name, want string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	found := &until{want: want, cancel: cancel}
	if err := r.Logs(ctx, name, true, found); err != nil {
		r.t.Fatal(err)
	}
	if !strings.Contains(found.String(), want) {
		r.t.Fatalf("log of %s has no %q:\n%s", name, want, found.String())
	}
	return found.String()
}

type until struct {
	bytes.Buffer
	want   string
	cancel context.CancelFunc
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if bytes.Contains(u.Bytes(), []byte(u.want)) {
		u.cancel()
	}
	return n, err
}
