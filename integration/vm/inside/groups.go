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

const (
	cgroups = "/sys/fs/cgroup"
	guest   = "pulse" // memory_limit 128, scheduler_limit 1: examples/gitops
	group   = cgroups + "/beamsandbox/" + guest
)

// groups shows the guest's control group.
func (t *trial) groups(ctx context.Context) error {
	t.say("Its control group %s:", group)
	return t.limited(ctx, func(file, value string) { t.say("  %-16s %s", file, value) })
}

// limited compares the guest's control group with what its app.config asks for.
func (t *trial) limited(ctx context.Context, show func(file, value string)) error {
	var errs []error
	for _, limit := range []struct{ file, want string }{
		{"memory.max", "134217728"}, {"memory.swap.max", "0"}, {"memory.oom.group", "1"},
		{"cpu.max", "100000 100000"}, {"pids.max", "1024"},
	} {
		got, err := read(limit.file)
		if errors.Is(err, os.ErrNotExist) && limit.file == "memory.swap.max" {
			continue // a kernel that counts no swap
		}
		show(limit.file, got)
		if err == nil && got != limit.want {
			err = fmt.Errorf("%s is %s, want %s", limit.file, got, limit.want)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, t.member(ctx))...)
}

// member checks that the guest's process is in its group.
func (t *trial) member(ctx context.Context) error {
	of, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", t.daemon.App(ctx, guest).Pid))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(of)); got != "0::/beamsandbox/"+guest {
		return fmt.Errorf("the guest is in control group %q", got)
	}
	return nil
}

func read(file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(group, file))
	return strings.TrimSpace(string(b)), err
}

// inGuest calls a function in the guest from the host VM.
func (t *trial) inGuest(ctx context.Context, module, function string, args ...term.Term) error {
	answer, err := t.host.Call(ctx, "rpc", "call", term.Atom(t.Node(guest)), term.Atom(module), term.Atom(function), term.List{Elems: args})
	if pair, ok := answer.(term.Tuple); err == nil && ok && len(pair) == 2 && pair[0] == term.Term(term.Atom("badrpc")) {
		return fmt.Errorf("call %s:%s in %s: %s", module, function, guest, term.Format(answer))
	}
	return err
}

// share measures what four busy processes get with scheduler_limit 1.
func (t *trial) share(ctx context.Context) error {
	if err := t.inGuest(ctx, "pulse_load", "spin", term.Int(4)); err != nil {
		return err
	}
	const window = 5 * time.Second
	first, err := used()
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(window):
	}
	second, err := used()
	if err != nil {
		return err
	}
	share := (second - first).Seconds() / time.Since(began).Seconds()
	t.say("Four of its processes spin: %.2f CPUs by cpu.stat.", share)
	if share > 1.1 || share < 0.3 {
		return fmt.Errorf("the guest used %.2f CPUs, want at most 1.1", share)
	}
	return t.inGuest(ctx, "pulse_load", "rest")
}

// used is the CPU time of the guest's control group.
func used() (time.Duration, error) {
	text, err := read("cpu.stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(text, "\n")
	us, err := strconv.ParseInt(strings.TrimPrefix(first, "usage_usec "), 10, 64)
	return time.Duration(us) * time.Microsecond, err
}

// memory makes the guest exceed its limit.
func (t *trial) memory(ctx context.Context) error {
	before := t.daemon.App(ctx, guest).Pid
	if err := t.inGuest(ctx, "pulse_load", "allocate", term.Int(200)); err != nil {
		return err
	}
	killed := false
	err := t.daemon.Await(ctx, "the guest was killed for memory and is back", func(h status.Host) bool {
		for _, a := range h.Apps {
			killed = killed || a.Reason == "oom_killed"
			if a.Name == guest && killed && a.Phase == status.Healthy && a.Pid != before {
				return true
			}
		}
		return false
	})
	if err == nil {
		t.say("200 MB under a limit of 128: oom_killed, and back as pid %d.", t.daemon.App(ctx, guest).Pid)
	}
	return err
}
