package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// inGuest calls a function in a guest the way any node of the cluster would:
// from the host VM, through the gateway.
func (d *demo) inGuest(ctx context.Context, name, module, function string, args ...term.Term) (term.Term, error) {
	return d.host.Call(ctx, "rpc", "call", term.Atom(d.Node(name)), term.Atom(module), term.Atom(function), term.List{Elems: args})
}

// probe makes the guest look for a way out, and shows what the firewall says.
func (d *demo) probe(ctx context.Context) error {
	d.say("The guest looks for a way out:")
	for _, target := range []struct {
		what, addr string
		port       int
	}{
		{"the internet", "192.0.2.1", 443},
		{"the cloud's metadata", "169.254.169.254", 80},
		{"the host's end of its own link", d.hostEnd(ctx), 22},
	} {
		v, err := d.inGuest(ctx, "pulse", "gen_tcp", "connect", term.String(target.addr), term.Int(target.port), term.List{}, term.Int(500))
		if err != nil {
			return err
		}
		answer := term.Format(v)
		if strings.HasPrefix(answer, "{ok,") {
			return fmt.Errorf("the guest reached %s at %s:%d", target.what, target.addr, target.port)
		}
		d.say("  %-31s %-20s %s", target.what, fmt.Sprintf("%s:%d", target.addr, target.port), answer)
	}
	shell, err := d.inGuest(ctx, "pulse", "filelib", "is_file", term.String("/bin/sh"))
	if err != nil {
		return err
	}
	d.say("  /bin/sh there? %s", term.Format(shell))
	err = d.daemon.Await(ctx, "the drops are counted", func(h status.Host) bool { return len(find(h, "pulse").Drops) > 0 })
	if err == nil {
		d.say("Its firewall counted: %v", d.daemon.App(ctx, "pulse").Drops)
	}
	return err
}

// hostEnd is the host's address on the guest's /31: the even one of the two.
func (d *demo) hostEnd(ctx context.Context) string {
	guest := d.daemon.App(ctx, "pulse").Address
	dot := strings.LastIndexByte(guest, '.')
	last, err := strconv.Atoi(guest[dot+1:])
	if err != nil {
		return guest
	}
	return fmt.Sprintf("%s.%d", guest[:dot], last&^1)
}

// limits makes the guest greedy: first for CPU, then for memory.
func (d *demo) limits(ctx context.Context) error {
	if _, err := d.inGuest(ctx, "pulse", "pulse_load", "spin", term.Int(4)); err != nil {
		return err
	}
	share, err := cpuShare(d.daemon.App(ctx, "pulse").Pid, 2*time.Second)
	if err != nil {
		return err
	}
	d.say("Four of its processes spin: %.2f CPUs used, scheduler_limit is 1.", share)
	if _, err := d.inGuest(ctx, "pulse", "pulse_load", "rest"); err != nil {
		return err
	}
	before := d.daemon.App(ctx, "pulse").Pid
	d.say("It takes 200 MB; memory_limit is 128.")
	if _, err := d.inGuest(ctx, "pulse", "pulse_load", "allocate", term.Int(200)); err != nil {
		return err
	}
	killed := ""
	err = d.daemon.Await(ctx, "pulse was killed and is back", func(h status.Host) bool {
		a := find(h, "pulse")
		if a.Reason == "oom_killed" {
			killed = a.Reason
		}
		return killed != "" && a.Phase == status.Healthy && a.Pid != before
	})
	if err == nil {
		d.say("Its cgroup ended it (%s), and it is back. The host VM did not notice.", killed)
	}
	return err
}

// cpuShare is how many CPUs a process used over a window, from /proc/pid/stat
// (proc(5), fields 14 and 15, in hundredths of a second).
func cpuShare(pid uint32, window time.Duration) (float64, error) {
	first, err := ticks(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	time.Sleep(window)
	second, err := ticks(pid)
	return float64(second-first) / 100 / time.Since(began).Seconds(), err
}

func ticks(pid uint32) (int, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(int(pid)), "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return user + system, errors.Join(err1, err2)
}

// crash kills sandboxd itself and starts it again.
func (d *demo) crash(ctx context.Context) error {
	before := d.daemon.App(ctx, "pulse")
	changes, err := d.host.Call(ctx, "demo_web", "changes")
	if err != nil {
		return err
	}
	d.say("kill -9 of sandboxd itself, and a new one.")
	d.daemon.Kill()
	if d.daemon, err = d.RestartDaemon(ctx); err != nil {
		return err
	}
	if err := d.daemon.AwaitHealthy(ctx, "pulse", "counter"); err != nil {
		return err
	}
	after, err := d.host.Call(ctx, "demo_web", "changes")
	if err != nil {
		return err
	}
	if pid := d.daemon.App(ctx, "pulse").Pid; pid != before.Pid || !term.Equal(changes, after) {
		return fmt.Errorf("the guest or its link did not live on: pid %d, then %d", before.Pid, pid)
	}
	d.say("The guest is still pid %d, and nodes() on the host VM never changed.", before.Pid)
	return nil
}

// broken pushes an app.config that cannot be read, beside the good ones.
func (d *demo) broken(ctx context.Context) error {
	d.say("A commit adds an app.config with a mistake.")
	err := errors.Join(d.gitops.Write("apps/typo/app.config", []byte("#{name => typo,\n  version => <<\"1.0.0\">>,\n  isolation => mv}.\n")),
		d.gitops.Commit("Add typo"))
	if err != nil {
		return err
	}
	err = d.pushed(ctx, "the mistake is told", func(h status.Host) bool { return find(h, "typo").Phase == status.Broken })
	if err != nil {
		return err
	}
	d.say("  %s", d.daemon.App(ctx, "typo").Detail)
	d.say("The others go on. The next commit takes it away again.")
	err = errors.Join(d.gitops.Write("apps/typo", nil), d.gitops.Commit("Remove typo"))
	if err != nil {
		return err
	}
	return d.pushed(ctx, "the mistake is gone", func(h status.Host) bool { return find(h, "typo").Name == "" })
}
