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
	act := flag.String("act", "service", "service; single: without user namespaces; before and after: of a reboot")
	config := flag.String("config", "/etc/beamsandbox/sandboxd.config", "where the service reads its configuration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, *act, *bin, *examples, *config); err != nil {
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

// home keeps the repositories and the cookie across a reboot.
const home = "/var/lib/beamsandbox-vm"

func run(ctx context.Context, act, bin, examples, config string) (err error) {
	s, err := stage.New(bin, home, "/var/lib/sandboxd", "/run/sandboxd")
	if err != nil {
		return err
	}
	t := &trial{Stage: s, examples: examples, config: config, began: time.Now()}
	acts := map[string][]func(context.Context) error{
		"service": {
			t.machine, t.setUp, t.start, t.remapped, t.groups, t.share, t.memory,
			t.restart, t.reload, t.crash, t.remove, t.clear,
		},
		"single": {t.setUp, t.start, t.single, t.groups, t.memory, t.restart, t.remove, t.clear},
		"before": {t.setUp, t.start, t.enable}, // what runs is the reboot's to end
		"after":  {t.reborn, t.groups, t.remove, t.clear},
	}
	if acts[act] == nil {
		return fmt.Errorf("-act %s: expected service, single, before or after", act)
	}
	for _, do := range acts[act] {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clear ends what the stage started and forgets it.
func (t *trial) clear(context.Context) error {
	return errors.Join(t.Close(), os.RemoveAll(home))
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
	return nil
}

// remapped checks that the guest has a user namespace.
func (t *trial) remapped(ctx context.Context) error {
	base, err := t.userBase(ctx)
	if err == nil && base == "0" {
		err = errors.New("the guest has no user namespace")
	}
	t.say("Its user namespace begins at uid %s.", base)
	return err
}

// single checks that it has none, and is not root all the same.
func (t *trial) single(ctx context.Context) error {
	base, err := t.userBase(ctx)
	if err == nil && base != "0" {
		err = errors.New("the guest has a user namespace although the kernel's limit is 0")
	}
	var st syscall.Stat_t
	if err := errors.Join(err, syscall.Stat(fmt.Sprintf("/proc/%d", t.daemon.App(ctx, guest).Pid), &st)); err != nil {
		return err
	}
	if st.Uid < 65536 {
		return fmt.Errorf("the guest is uid %d, which is not its own", st.Uid)
	}
	t.say("No user namespaces here: it is uid %d.", st.Uid)
	return nil
}

// userBase is the uid outside of the guest's uid 0.
func (t *trial) userBase(ctx context.Context) (string, error) {
	ids, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", t.daemon.App(ctx, guest).Pid))
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(ids))
	if len(f) != 3 {
		return "", fmt.Errorf("the guest's uid_map is %q", ids)
	}
	return f[1], nil
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
