package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

func TestCounter(t *testing.T) {
	v1 := "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
	v2 := "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\n"
	for _, tt := range []struct {
		text, key string
		want      uint64
		ok        bool
	}{
		{v1, "oom_kill", 3, true}, {v2, "oom_kill", 1, true}, {v2, "max", 12, true},
		{v1, "nothing", 0, false}, {"oom_kill x\n", "oom_kill", 0, false}, {"", "oom_kill", 0, false},
	} {
		got, err := counter(tt.text, tt.key)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("counter(%q, %s) = %d, %v", tt.text, tt.key, got, err)
		}
	}
}

func TestHierarchyReads(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"memory/g/memory.oom_control": "oom_kill 2\n", "memory/g/memory.usage_in_bytes": "1000\n",
		"memory/g/memory.stat": "cache 1\ntotal_inactive_file 400\n", "cpuacct/g/cpuacct.usage": "2000\n",
		"g/memory.events": "oom_kill 4\n", "g/memory.current": "500\n", "g/memory.stat": "inactive_file 900\n", "g/cpu.stat": "usage_usec 7\n",
	} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	type figures struct {
		Kills, Memory uint64
		CPU           string
	}
	for unified, want := range map[bool]figures{false: {2, 600, "2µs"}, true: {4, 0, "7µs"}} {
		h := hierarchy{root: root, unified: unified}
		kills, err1 := h.oomKills("/g")
		memory, err2 := h.memory("/g")
		cpu, err3 := h.cpu("/g")
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, figures{kills, memory, cpu.String()}); diff != "" {
			t.Errorf("unified %v: %s", unified, diff)
		}
	}
	if _, err := (hierarchy{root: root}).memory("/none"); err == nil {
		t.Error("a group that is not there was measured")
	}
	if err := (hierarchy{root: root}).remove("/none"); err != nil {
		t.Error(err)
	}
}

func TestRangesAreOnePerGuest(t *testing.T) {
	u := uids{base: 1000 * uidSpan}
	used := func(context.Context) (map[uint32]bool, error) { return map[uint32]bool{1001 * uidSpan: true}, nil }
	var got []uint32
	var last func()
	for range 3 {
		base, release, err := u.take(t.Context(), used)
		if err != nil {
			t.Fatal(err)
		}
		got, last = append(got, base/uidSpan), release
	}
	if want := []uint32{1000, 1002, 1003}; !slices.Equal(got, want) {
		t.Errorf("ranges %v, want %v", got, want)
	}
	last()
	if base, _, err := u.take(t.Context(), used); err != nil || base/uidSpan != 1003 {
		t.Errorf("after letting go: %d, %v", base/uidSpan, err)
	}
	full := uids{base: maxUID - uidSpan/2}
	if _, _, err := full.take(t.Context(), used); err == nil {
		t.Error("a range past the last user id")
	}
}

func TestLocks(t *testing.T) {
	var l locks
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second turn: %v", err)
	}
	unlock()
	again, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if len(l.held) != 0 {
		t.Errorf("held: %v", l.held)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"pulse": true, "my_service2": true, "job-x": true, strings.Repeat("a", 76): true,
		"": false, ".": false, "..": false, "a/b": false, "a b": false, "é": false, "a\x00": false, strings.Repeat("a", 77): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%q) = %v", name, err)
		}
	}
}

func TestImageHas(t *testing.T) {
	low, up := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(low, "app/sys.config"), filepath.Join(up, "etc/x")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(low, "app/out")); err != nil {
		t.Fatal(err)
	}
	overlay := []mount.Mount{{Type: "overlay", Options: []string{"upperdir=/u", "lowerdir=" + up + ":" + low, "uidmap=0:1:2"}}}
	bind := []mount.Mount{{Type: "bind", Source: low}}
	for path, want := range map[string]bool{"/app/sys.config": true, "/app/vm.args": false, "/app/out": false, "/app": false} {
		if _, got := imageRead(overlay, path); got != want {
			t.Errorf("overlay has %s: %v, want %v", path, got, want)
		}
		if _, got := imageRead(bind, path); got != want {
			t.Errorf("bind has %s: %v, want %v", path, got, want)
		}
	}
}

func TestRotation(t *testing.T) {
	l := logs{dir: t.TempDir(), limit: 256 << 10}
	if err := l.open("a"); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.path("a"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line, at := 0, int64(0)
	var read strings.Builder
	buf := make([]byte, 1<<20)
	for range 40 { // a writer, a rotator and a reader by turns
		for range 1000 {
			if _, err := fmt.Fprintf(f, "%015d\n", line); err != nil {
				t.Fatal(err)
			}
			line++
		}
		n, next, err := l.read("a", at, buf)
		if err != nil {
			t.Fatal(err)
		}
		read.Write(buf[:n])
		at = next
		if err := l.rotateOne("a"); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(read.String(), "\n"); got != line {
		t.Errorf("the reader saw %d lines of %d", got, line)
	}
	old, err1 := os.ReadFile(l.old("a"))
	live, err2 := os.ReadFile(l.path("a"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if len(old) > int(l.limit) || len(live) > int(l.limit) || !strings.HasSuffix(read.String(), string(old)+string(live)) {
		t.Errorf("files of %d and %d bytes are not the newest of what was written", len(old), len(live))
	}
	if err := errors.Join(l.remove("a"), l.remove("a")); err != nil {
		t.Error(err)
	}
}

func TestRotationWhereNothingCanBeCollapsed(t *testing.T) {
	l := logs{dir: "/dev/shm/" + filepath.Base(t.TempDir()) + t.Name(), limit: 64 << 10}
	defer os.RemoveAll(l.dir)
	if err := l.open("a"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.path("a"), make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.rotateOne("a"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(l.path("a")); err != nil || info.Size() != 0 && info.Size() > l.limit {
		t.Errorf("after rotation: %v, %v", info, err)
	}
	if n, at, err := l.read("a", 0, make([]byte, 10)); err != nil || at < 192<<10 {
		t.Errorf("read %d at %d, %v", n, at, err)
	}
}

func TestExitsReachEveryWatcherOnce(t *testing.T) {
	var e exits
	a, b := e.subscribe(), e.subscribe()
	e.begin("x", 1)
	if e.begin("x", 1) {
		t.Error("one process is followed twice")
	}
	e.publish(Event{Name: "x", Pid: 1})
	e.publish(Event{Name: "x", Pid: 1})
	e.begin("y", 2)
	e.mute("y")
	e.publish(Event{Name: "y", Pid: 2})
	e.begin("z", 3)
	e.begin("z", 4)
	e.publish(Event{Name: "z", Pid: 3})
	for _, q := range []*queue{a, b} {
		if got := e.take(q); len(got) != 1 || got[0].Name != "x" {
			t.Errorf("events %+v, want one of x", got)
		}
	}
	e.unsubscribe(a)
	e.publish(Event{Name: "z", Pid: 4})
	if got := len(e.take(a)); got != 0 {
		t.Errorf("%d events after unsubscribing", got)
	}
}

func TestRecordsSurviveTheRoundTrip(t *testing.T) {
	r := record{
		name: "pulse", version: "1.0", digest: "d", paths: []string{"/a/pulse-1.0/ebin", "/a/dep-2/ebin"},
		env: map[string]term.Term{"k": term.Map{{Key: term.Atom("a"), Value: term.Int(1)}}}, started: []app.Name{"dep", "pulse"},
	}
	encoded, err := term.Append(nil, r.encode())
	if err != nil {
		t.Fatal(err)
	}
	decoded, _, err := term.Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := decodeRecord(decoded)
	if !ok || !cmp.Equal(r, got, cmp.AllowUnexported(record{})) {
		t.Errorf("%+v, want %+v", got, r)
	}
	for _, bad := range []term.Term{nil, term.Atom("x"), term.Tuple{}, term.Tuple{term.Int(1), nil, nil, nil, nil, nil}} {
		if _, ok := decodeRecord(bad); ok {
			t.Errorf("%v was taken for a record", bad)
		}
	}
	if !r.carries("dep") || !r.carries("pulse") || r.carries("de") || r.carries("kernel") {
		t.Error("which applications came with it is wrong")
	}
}

func TestCompareEnv(t *testing.T) {
	d := compareEnv(
		map[string]term.Term{"same": term.Int(1), "changed": term.Int(1), "gone": term.Int(1)},
		map[string]term.Term{"same": term.Int(1), "changed": term.Int(2), "new": term.Int(3)},
	)
	got := term.Format(term.Tuple{d.changed, d.added, d.removed})
	if strings.ReplaceAll(got, " ", "") != "{[{changed,2}],[{new,3}],[gone]}" {
		t.Errorf("diff %s", got)
	}
	if !compareEnv(nil, nil).empty() {
		t.Error("nothing changed, and there is a difference")
	}
}

func TestReconfigureOfNothingCallsNobody(t *testing.T) {
	env := map[string]term.Term{"a": term.Int(1)}
	call := CallerFunc(func(context.Context, string, string, ...term.Term) (term.Term, error) {
		return nil, errors.New("called")
	})
	if err := Reconfigure(t.Context(), call, "x", env, maps.Clone(env)); err != nil {
		t.Error(err)
	}
	if err := Reconfigure(t.Context(), call, "x", env, nil); err == nil || err.Error() != "reconfigure x: called" {
		t.Errorf("error %v", err)
	}
}
