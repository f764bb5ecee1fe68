//go:build integration

package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

func TestWallsFromInside(t *testing.T) {
	r := newRoom(t)
	c := guest("look", "look")
	c.Env = map[string]term.Term{"http_port": term.Int(8085), "greeting": term.Binary("hello")}
	task := r.ensure(c)
	// Where the kernel has /proc/kcore, runc links /dev/core to it; it is masked.
	text := strings.ReplaceAll(r.waitLog("look", "looked"), "/dev/core ", "")
	for _, want := range []string{
		"Uid:\t1000\t1000\t1000\t1000", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
		"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2", "hostname vm",
		"write / open /x: read-only file system", "write /tmp <nil>", "exec /tmp permission denied",
		"fill /tmp write /tmp/y: no space left on device",
		"packet socket operation not permitted", "alg socket operation not permitted",
		"unshare operation not permitted", "mount operation not permitted", "ptrace operation not permitted",
		"write /proc/sys open /proc/sys/kernel/hostname: read-only file system",
		"dev [/dev/fd /dev/full /dev/null /dev/ptmx /dev/random /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero]",
		"root [/app /dev /etc /home /probe /proc /run /tmp]", "processes 1",
		"cookie guest-cookie-0123456789 <nil>", "{greeting,", "{http_port, 8085}",
		`hosts "127.0.0.1\tlocalhost\n127.0.0.1\tvm\n"`, "interfaces 1", "nofile 4096 4096",
	} {
		if !strings.Contains(strings.ReplaceAll(text, "http_port,8085", "http_port, 8085"), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	outside(t, task)
}

// outside looks at the guest's process from the host.
func outside(t *testing.T, task runtime.Task) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		raw := procFile(t, task.Pid, file)
		if strings.Contains(raw, "guest-cookie") {
			t.Errorf("the cookie is in /proc/%d/%s", task.Pid, file)
		}
	}
	if m := strings.Fields(procFile(t, task.Pid, "uid_map")); len(m) != 3 || m[0] != "0" || m[1] < "1500000000" || m[2] != "65536" {
		t.Errorf("uid_map %v, want one range from 1500000000", m)
	}
	for _, ns := range []string{"pid", "ipc", "uts", "mnt", "net", "user", "cgroup"} {
		inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", task.Pid, ns))
		own, ownErr := os.Readlink("/proc/self/ns/" + ns)
		if err != nil || ownErr != nil || inside == own {
			t.Errorf("namespace %s: %s (%v), ours %s (%v)", ns, inside, err, own, ownErr)
		}
	}
	info, err := os.Stat(task.CgroupDir)
	if err != nil || !info.IsDir() {
		t.Errorf("cgroup %s: %v", task.CgroupDir, err)
	}
}

func procFile(t *testing.T, pid uint32, name string) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestSingleUser is a guest on a containerd that cannot shift owners.
func TestSingleUser(t *testing.T) {
	r := newRoom(t)
	c := guest("single", "look")
	c.Privileges.UserNS = false
	r.ensure(c)
	text := r.waitLog("single", "looked")
	for _, want := range []string{"Uid:\t150", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "cookie guest-cookie-0123456789 <nil>", "mount operation not permitted"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestEnsureIsIdempotent(t *testing.T) {
	r := newRoom(t)
	first := r.ensure(guest("same"))
	second := r.ensure(guest("same"))
	if second.Pid != first.Pid || second.Digest != "d1" || second.Labels["source"] != "test" || second.State != runtime.Running {
		t.Errorf("second %+v, first %+v", second, first)
	}
	changed := guest("same")
	changed.Digest = "d2"
	third := r.ensure(changed)
	if third.Pid == first.Pid || third.Digest != "d2" {
		t.Errorf("after a new digest: %+v", third)
	}
	if err := syscall.Kill(int(first.Pid), 0); err == nil {
		t.Error("the old guest runs on")
	}
	if err := r.Relabel(t.Context(), "same", "d3", map[string]string{"other": "x"}); err != nil {
		t.Fatal(err)
	}
	changed.Digest = "d3"
	fourth := r.ensure(changed)
	if fourth.Pid != third.Pid || fourth.Labels["other"] != "x" || len(fourth.Labels) != 1 {
		t.Errorf("after Relabel: %+v", fourth)
	}
}

func TestRemoveOfNothing(t *testing.T) {
	if err := newRoom(t).Remove(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
}

func TestErrorsLeaveNothing(t *testing.T) {
	r := newRoom(t)
	r.names = append(r.names, "bad")
	noImage := guest("bad")
	noImage.Image = "runtime.test/none:1"
	noStart := guest("bad")
	noStart.Release.Root = "/elsewhere"
	noNet := guest("bad")
	noNet.NetNS = "/run/none"
	for want, c := range map[string]runtime.Config{
		"runtime.test/none:1: not in containerd's store": noImage,
		"no such file or directory":                      noStart,
		"/run/none":                                      noNet,
	} {
		_, err := r.Ensure(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, want)
		}
	}
	if _, err := r.Ensure(t.Context(), guest("../x")); err == nil {
		t.Error("a path as a name was taken")
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
	if err := r.Logs(t.Context(), "nobody", false, os.Stderr); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Logs of nobody: %v", err)
	}
}

// events collects what Watch tells.
func (r *room) events() <-chan runtime.Event {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan runtime.Event, 100)
	seq := r.Watch(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for ev, err := range seq {
			if err != nil {
				r.t.Error(err)
			}
			ch <- ev
		}
	})
	r.t.Cleanup(func() { cancel(); done.Wait() })
	return ch
}

func (r *room) next(ch <-chan runtime.Event) runtime.Event {
	r.t.Helper()
	select {
	case ev := <-ch:
		return ev
	case <-time.After(20 * time.Second):
		r.t.Fatal("no event")
		return runtime.Event{}
	}
}

func TestExitsAreTold(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	task := r.ensure(guest("ends", "exit", "7"))
	if ev := r.next(events); ev.Name != "ends" || ev.Pid != task.Pid || ev.Exit.Status != 7 || ev.Exit.OOMKilled {
		t.Errorf("event %+v", ev)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != runtime.Stopped || all[0].Exit == nil || all[0].Exit.Status != 7 {
		t.Errorf("List: %+v, %v", all, err)
	}
	again := r.ensure(guest("ends")) // the same digest, started anew
	if again.State != runtime.Running || again.Pid == task.Pid {
		t.Errorf("after the exit: %+v", again)
	}
	if err := syscall.Kill(int(again.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(events); ev.Pid != again.Pid || ev.Exit.Status != 137 || ev.Exit.OOMKilled {
		t.Errorf("event %+v, want 137 and no OOM", ev)
	}
	r.ensure(guest("polite"))
	r.waitLog("polite", "ready") // before it asks for SIGTERM, a first process gets none
	if err := r.Signal(t.Context(), "polite", syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(events); ev.Name != "polite" || ev.Exit.Status != 0 {
		t.Errorf("event %+v, want an end in order", ev)
	}
	r.ensure(guest("ends"))
	if err := r.Remove(t.Context(), "ends"); err != nil {
		t.Fatal(err)
	}
	if ev := r.ensure(guest("last", "exit", "0")); r.next(events).Pid != ev.Pid {
		t.Error("an end that Remove made was told")
	}
}

func TestMemoryLimit(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	other := r.ensure(guest("bystander"))
	c := guest("hog", "alloc", "200")
	c.VM.MemoryLimit = 64
	r.ensure(c)
	ev := r.next(events)
	if ev.Name != "hog" || !ev.Exit.OOMKilled || ev.Exit.Status != 137 {
		t.Errorf("event %+v, want an OOM kill of hog", ev)
	}
	all, err := r.List(t.Context())
	i := slices.IndexFunc(all, func(t runtime.Task) bool { return t.Name == "hog" })
	if err != nil || i < 0 || all[i].Exit == nil || !all[i].Exit.OOMKilled {
		t.Errorf("List: %+v, %v", all, err)
	}
	if again := r.ensure(guest("bystander")); again.Pid != other.Pid {
		t.Error("the bystander was hit")
	}
	used, err := r.Memory(t.Context(), "bystander")
	if err != nil || used == 0 || used > 64<<20 {
		t.Errorf("memory of the bystander: %d, %v", used, err)
	}
}

func TestCPULimit(t *testing.T) {
	r := newRoom(t)
	c := guest("spin", "spin", "4")
	c.VM.SchedulerLimit = 1
	r.ensure(c)
	began, from := time.Now(), r.cpu("spin")
	<-time.After(2 * time.Second) // what is measured is a rate
	used := (r.cpu("spin") - from).Seconds() / time.Since(began).Seconds()
	t.Logf("4 spinning threads used %.2f CPUs", used)
	if used > 1.1 || used < 0.3 {
		t.Errorf("used %.2f CPUs, want at most 1.1", used)
	}
}

func (r *room) cpu(name app.Name) time.Duration {
	r.t.Helper()
	d, err := r.CPU(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func TestPidsLimit(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	r.ensure(guest("bomb", "threads", "1000"))
	if ev := r.next(events); ev.Exit.Status == 0 || ev.Exit.OOMKilled {
		t.Errorf("1000 threads under a limit of 128: %+v", ev)
	}
}

func TestParallelEnsures(t *testing.T) {
	r := newRoom(t)
	const n = 10
	var all sync.WaitGroup
	bases := make([]string, n)
	began := time.Now()
	for i := range n {
		c := guest(fmt.Sprintf("p%d", i))
		r.names = append(r.names, c.Name)
		all.Go(func() {
			task, err := r.Ensure(t.Context(), c)
			if err != nil {
				t.Error(err)
				return
			}
			bases[i] = strings.Fields(procFile(t, task.Pid, "uid_map"))[1]
		})
	}
	all.Wait()
	t.Logf("%d at once: %v", n, time.Since(began))
	slices.Sort(bases)
	if len(slices.Compact(bases)) != n {
		t.Errorf("ranges are shared: %v", bases)
	}
}

func TestLogsAreRotatedWithoutLoss(t *testing.T) {
	r := newRoom(t)
	r.Close()
	r.cfg.LogBytes = 1 << 20
	r.Tasks = runtime.NewTasks(shared.stack, r.cfg)
	task := r.ensure(guest("loud", "flood", "3"))
	text := r.waitLog("loud", "flooded")
	if n := strings.Count(text, "\n"); n < 3<<20/64 {
		// A follower that was slower than the cut sees a gap at most at its
		// very first read, when the guest had already written more than two files.
		t.Logf("follower saw %d lines", n)
	}
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	deadline := time.After(10 * time.Second)
	for size(task.LogPath) > 1<<20 || size(task.LogPath+".1") == 0 {
		select {
		case <-deadline:
			t.Fatalf("not rotated: %d, %d", size(task.LogPath), size(task.LogPath+".1"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	old, err := os.ReadFile(task.LogPath + ".1")
	if err != nil {
		t.Fatal(err)
	}
	live, err := os.ReadFile(task.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(old) + string(live); !strings.HasSuffix(got, "flooded\n") || strings.Contains(got, "\x00") {
		t.Errorf("the two files end with %q", got[max(0, len(got)-100):])
	}
}

func TestEnsureTimes(t *testing.T) {
	r := newRoom(t)
	r.ensure(guest("warm"))
	for _, kind := range []string{"with", "without"} {
		var took []time.Duration
		for i := range 15 {
			c := guest(fmt.Sprintf("t%d", i))
			c.Privileges.UserNS = kind == "with"
			began := time.Now()
			r.ensure(c)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		began := time.Now()
		for i := range 15 {
			if err := r.Remove(t.Context(), app.Name(fmt.Sprintf("t%d", i))); err != nil {
				t.Error(err)
			}
		}
		t.Logf("Ensure to started, %s user namespace: p50 %v, max %v; Remove %v each", kind, took[7], took[14], time.Since(began)/15)
	}
}
