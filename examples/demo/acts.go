package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// setUp makes the repositories, the host VM and sandboxd.
func (d *demo) setUp(ctx context.Context) error {
	d.say("A host BEAM starts: %s. It knows nothing of sandboxes.", d.Node("demo_web"))
	var err error
	if err = d.StartEPMD(ctx); err != nil {
		return err
	}
	if d.host, err = d.StartHost(ctx, "demo_web"); err != nil {
		return err
	}
	counter, err := d.NewRepo("counter", d.examples+"/apps/counter")
	if err != nil {
		return err
	}
	if d.pulse, err = d.NewRepo("pulse", d.examples+"/apps/pulse"); err != nil {
		return err
	}
	if d.gitops, err = d.NewRepo("gitops", d.examples+"/gitops"); err != nil {
		return err
	}
	err = errors.Join(d.pulse.Tag("v1.0.0"),
		d.edit("apps/pulse/app.config", "https://git.example/pulse.git", d.pulse.URL()),
		d.edit("apps/counter/app.config", "https://git.example/counter.git", counter.URL()),
		d.gitops.Commit("Name the real addresses"))
	if err != nil {
		return err
	}
	d.say("A git repository asks for two apps: pulse as a guest, counter inside the host VM.")
	d.say("sandboxd starts and reads it. The first time, it builds; that takes a while.")
	d.daemon, err = d.StartDaemon(ctx, stage.Options{Repo: d.gitops, HostNode: d.host.Name})
	return err
}

// edit replaces text in a file of the gitops repository.
func (d *demo) edit(path, old, new string) error {
	b, err := d.gitops.Read(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(old)) {
		return fmt.Errorf("%s does not say %s", path, old)
	}
	return d.gitops.Write(path, bytes.ReplaceAll(b, []byte(old), []byte(new)))
}

func (d *demo) deploy(ctx context.Context) error {
	if err := d.daemon.AwaitHealthy(ctx, "pulse", "counter"); err != nil {
		return err
	}
	d.say("Both are healthy:")
	if err := d.showStatus(); err != nil {
		return err
	}
	for _, s := range d.daemon.App(ctx, "pulse").Stages {
		d.say("  pulse: %-9s %6d ms", s.Name, s.Took.Milliseconds())
	}
	return d.tellWalls(ctx)
}

func (d *demo) showStatus() error {
	out, err := d.Ctl("status")
	d.show(out)
	return err
}

// tellWalls shows what is different about the guest.
func (d *demo) tellWalls(ctx context.Context) error {
	nodes, err := d.host.Nodes(ctx)
	if err != nil {
		return err
	}
	d.say("nodes() on the host VM: %v", nodes)
	pid := d.daemon.App(ctx, "pulse").Pid
	cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return err
	}
	guest, err := d.host.Call(ctx, "rpc", "call", term.Atom(d.Node("pulse")), term.Atom("erlang"), term.Atom("get_cookie"), term.List{})
	if err != nil {
		return err
	}
	if guest == term.Term(term.Atom(d.Cookie)) {
		return errors.New("the guest has the cluster's cookie")
	}
	if bytes.Contains(cmd, []byte(d.Cookie)) || bytes.Contains(cmd, []byte(guest.(term.Atom))) {
		return errors.New("a cookie is on the guest's command line")
	}
	d.say("The guest's cookie is its own; the cluster's never enters it.")
	return nil
}

// listen waits for messages of the guest in the host VM.
func (d *demo) listen(ctx context.Context) error {
	first, err := d.heard(ctx, "pulse")
	if err != nil {
		return err
	}
	d.say("Messages of the guest arrive in the host VM, over pg, through the gateway:")
	for n := range 3 {
		var last term.Term
		err := stage.Until(ctx, "another message of pulse arrives", func() bool {
			h, herr := d.heard(ctx, "pulse")
			last = h.last
			return herr == nil && h.count > first.count+n
		})
		if err != nil {
			return err
		}
		d.say("  demo_web heard %s", term.Format(last))
	}
	return nil
}

type heard struct {
	count int
	last  term.Term
}

// heard asks the host VM what it got from a node.
func (d *demo) heard(ctx context.Context, name string) (heard, error) {
	t, err := d.host.Call(ctx, "demo_web", "heard")
	if err != nil {
		return heard{}, err
	}
	m, _ := t.(term.Map)
	v, _ := m.Get(term.Atom(d.Node(name)))
	if pair, ok := v.(term.Tuple); ok && len(pair) == 2 {
		n, _ := pair[0].(term.Int)
		return heard{count: int(n), last: pair[1]}, nil
	}
	return heard{}, nil
}

// kill ends the guest's BEAM the hard way.
func (d *demo) kill(ctx context.Context) error {
	before := d.daemon.App(ctx, "pulse")
	d.say("kill -9 %d: the guest's BEAM dies.", before.Pid)
	if err := syscall.Kill(int(before.Pid), syscall.SIGKILL); err != nil {
		return err
	}
	began := time.Now()
	err := d.daemon.Await(ctx, "pulse is back", func(h status.Host) bool {
		a := find(h, "pulse")
		return a.Phase == status.Healthy && a.Pid != before.Pid
	})
	if err != nil {
		return err
	}
	after := d.daemon.App(ctx, "pulse")
	d.say("It is back after %.1f s as pid %d; restarts: %d. The host VM went on all the time.",
		time.Since(began).Seconds(), after.Pid, after.Restarts)
	return nil
}

func find(h status.Host, name string) status.App {
	for _, a := range h.Apps {
		if a.Name == name {
			return a
		}
	}
	return status.App{}
}

// upgrade pushes a commit with a new version of pulse.
func (d *demo) upgrade(ctx context.Context) error {
	for _, f := range []string{"src/pulse.app.src", "rebar.config"} {
		b, err := d.pulse.Read(f)
		if err != nil {
			return err
		}
		if err := d.pulse.Write(f, bytes.ReplaceAll(b, []byte("1.0.0"), []byte("1.1.0"))); err != nil {
			return err
		}
	}
	err := errors.Join(d.pulse.Commit("Release 1.1.0"), d.pulse.Tag("v1.1.0"),
		d.edit("apps/pulse/app.config", "1.0.0", "1.1.0"), d.gitops.Commit("Upgrade pulse"))
	if err != nil {
		return err
	}
	d.say("A commit asks for pulse 1.1.0.")
	err = d.pushed(ctx, "pulse 1.1.0 is healthy", func(h status.Host) bool {
		a := find(h, "pulse")
		return a.Version == "1.1.0" && a.Phase == status.Healthy
	})
	if err != nil {
		return err
	}
	return d.awaitVersion(ctx)
}

// awaitVersion waits until the host VM hears the new version speak.
func (d *demo) awaitVersion(ctx context.Context) error {
	var last term.Term
	err := stage.Until(ctx, "pulse 1.1.0 speaks", func() bool {
		h, err := d.heard(ctx, "pulse")
		last = h.last
		return err == nil && last != nil && strings.Contains(term.Format(last), "1.1.0")
	})
	if err == nil {
		d.say("  demo_web heard %s", term.Format(last))
	}
	return err
}

// pushed makes sandboxd look, and waits.
func (d *demo) pushed(ctx context.Context, what string, ok func(status.Host) bool) error {
	if _, err := d.Ctl("sync"); err != nil {
		return err
	}
	return d.daemon.Await(ctx, what, ok)
}

// move takes counter out of the host VM into one of its own.
func (d *demo) move(ctx context.Context) error {
	d.say("A commit moves counter out of the host VM into one of its own.")
	err := errors.Join(d.edit("apps/counter/app.config", "isolation => embedded", "isolation => vm"),
		d.gitops.Commit("Isolate counter"))
	if err != nil {
		return err
	}
	err = d.pushed(ctx, "counter runs as a guest", func(h status.Host) bool {
		a := find(h, "counter")
		return a.Isolation == "vm" && a.Phase == status.Healthy && a.Linked
	})
	if err != nil {
		return err
	}
	return d.showStatus()
}

// remove deletes both apps, stops, and counts what is left.
func (d *demo) remove(ctx context.Context) error {
	d.say("A commit removes both apps.")
	err := errors.Join(d.gitops.Write("apps/pulse", nil), d.gitops.Write("apps/counter", nil),
		d.gitops.Commit("Remove both"))
	if err != nil {
		return err
	}
	if err := d.pushed(ctx, "both are gone", func(h status.Host) bool { return len(h.Apps) == 0 && h.Settled }); err != nil {
		return err
	}
	if err := d.daemon.Stop(stretch(20*time.Second, d.patience)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stretch(15*time.Second, d.patience))
	defer cancel()
	if err := d.AwaitNothing(ctx); err != nil {
		return err
	}
	d.say("Nothing is left: no process, mount, namespace, link, table, name or cgroup. That was all.")
	return nil
}
