// Command inside proves on a machine with systemd and cgroup v2 what the demo
// cannot: sandboxd as a service, and its guests' control groups as the kernel
// shows them. It changes the machine, so it is for a throw-away one; run.sh
// starts it in a virtual machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"beamsandbox/integration/stage"
)

// patience bounds the whole: an emulated machine is thirty times slower.
const patience = 30 * time.Minute

func main() {
	bin := flag.String("bin", "bin", "folder of the built programs")
	examples := flag.String("examples", "examples", "folder of the examples")
	config := flag.String("config", "/etc/beamsandbox/sandboxd.config", "where the service reads its configuration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, *bin, *examples, *config); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		cancel()
		os.Exit(1)
	}
}

// trial is the stage and what is tried on it.
type trial struct {
	*stage.Stage
	examples, config string
	host             *stage.Host
	daemon           *stage.Daemon
	gitops           *stage.Repo
	began            time.Time
}

func run(ctx context.Context, bin, examples, config string) (err error) {
	dir, err := os.MkdirTemp("", "beamsandbox-vm-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := stage.New(bin, dir, "/var/lib/sandboxd", "/run/sandboxd")
	if err != nil {
		return err
	}
	t := &trial{Stage: s, examples: examples, config: config, began: time.Now()}
	defer func() { err = errors.Join(err, t.Close()) }()
	for _, act := range []func(context.Context) error{
		t.machine, t.setUp, t.start, t.groups, t.share, t.memory, t.restart, t.reload, t.crash, t.remove,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say tells one line, with the time since the beginning.
func (t *trial) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// machine refuses one without systemd or with a control group of version 1.
func (t *trial) machine(ctx context.Context) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(cgroups, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", cgroups, err)
	}
	const cgroup2Magic = 0x63677270 // statfs(2)
	if fs.Type != cgroup2Magic {
		return fmt.Errorf("%s is not of version 2 alone: this trial is for a machine where it is", cgroups)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	systemd, err := command(ctx, "systemctl", "--version")
	first, _, _ := strings.Cut(systemd, "\n")
	t.say("Linux %s, %s, cgroup v2 alone.", strings.TrimSpace(string(kernel)), first)
	return err
}

// setUp makes the host VM, the repositories and the service's configuration.
func (t *trial) setUp(ctx context.Context) (err error) {
	if err = t.StartEPMD(ctx); err != nil {
		return err
	}
	if t.host, err = t.StartHost(ctx, "demo_web"); err != nil {
		return err
	}
	pulse, err := t.NewRepo("pulse", t.examples+"/apps/pulse")
	if err != nil {
		return err
	}
	if t.gitops, err = t.NewRepo("gitops", t.examples+"/gitops"); err != nil {
		return err
	}
	spec, err := t.gitops.Read("apps/pulse/app.config")
	if err != nil {
		return err
	}
	spec = []byte(strings.ReplaceAll(string(spec), "https://git.example/pulse.git", pulse.URL()))
	if err := errors.Join(pulse.Tag("v1.0.0"), t.gitops.Write("apps/pulse/app.config", spec), t.gitops.Write("apps/counter", nil),
		t.gitops.Commit("One guest"), t.WriteConfig(stage.Options{Repo: t.gitops, HostNode: t.host.Name})); err != nil {
		return err
	}
	b, err := os.ReadFile(t.ConfigPath())
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(t.config), 0o755), os.WriteFile(t.config, b, 0o600))
}

// start starts the service and waits for the guest.
func (t *trial) start(ctx context.Context) error {
	t.say("systemctl start sandboxd; it builds the guest first.")
	if _, err := command(ctx, "systemctl", "start", unit); err != nil {
		return err
	}
	t.daemon = t.Attach()
	if err := t.daemon.AwaitHealthy(ctx, guest); err != nil {
		return err
	}
	a := t.daemon.App(ctx, guest)
	t.say("%s is healthy, pid %d:", guest, a.Pid)
	for _, s := range a.Stages {
		t.say("  %-9s %6d ms", s.Name, s.Took.Milliseconds())
	}
	ids, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", a.Pid))
	if err != nil {
		return err
	}
	if f := strings.Fields(string(ids)); len(f) == 3 && f[1] == "0" {
		t.say("It has user ids of its own; this kernel or file system gives no user namespace.")
	} else {
		t.say("Its user namespace begins at uid %s.", f[1])
	}
	return nil
}

// command runs a program; its output belongs to the error.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, err
}
