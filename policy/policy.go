// Package policy decides what an app may ask for and what it may do once it
// runs: pure functions from a spec or a message to a decision.
package policy

import (
	"cmp"
	"fmt"
	"slices"

	"beamsandbox/reconcile/app"
)

// Rules is what the operator allows on this host. The zero value allows
// every well-formed app that does not come from a local folder, within the
// default limits.
type Rules struct {
	MaxMemory     int  // MB, 0: no ceiling
	MaxSchedulers int  // CPUs, 0: no ceiling
	AllowPath     bool // sources of type path, for sandboxctl run

	// Limits of every guest; zero values mean the defaults.
	Pids       int64  // tasks, 0: 1024; never less than 64
	OpenFiles  uint64 // RLIMIT_NOFILE, 0: 65536
	TmpBytes   int64  // size of /tmp, 0: 64 MiB
	OCIRuntime string // containerd runtime name, "": io.containerd.runc.v2
	NoUserNS   bool   // no user namespace (older stacks)

	// Messages is what guests may say beyond the defaults, by app.
	Messages map[app.Name]Messages
}

// Grant is what one app was allowed; netns, distribution and runtime enforce
// its three parts.
type Grant struct {
	Flows      []Flow
	Messages   Messages
	Privileges Privileges
}

// Flow is one kind of connection that the firewall lets through, from the
// host's end of the veth to the guest.
type Flow struct {
	Port    uint16
	Purpose string // "distribution", "epmd", "health", "http_port"
	Publish bool   // also listen on the host's loopback at the same number
}

// Privileges are the limits of the guest as the kernel sees it.
type Privileges struct {
	Pids       int64  // tasks, threads included
	OpenFiles  uint64 // RLIMIT_NOFILE
	TmpBytes   int64  // size of the guest's /tmp
	OCIRuntime string // containerd runtime name, "io.containerd.runc.v2"
	UserNS     bool   // a user namespace with a range of its own
}

// Ports of every guest that policy opens to the host.
const (
	EPMDPort         = app.EPMDPort
	DistributionPort = app.DistributionPort
)

// What a guest may use when nobody said otherwise.
const (
	defaultPids      = 1024
	defaultOpenFiles = 65536    // BEAM sizes its port table by it: without a bound it takes gigabytes
	defaultTmpBytes  = 64 << 20 // /tmp counts against memory_limit
	defaultRuntime   = "io.containerd.runc.v2"
)

// minPids is the least that Grant gives: a BEAM runs about twenty threads on a
// small host, and more with every scheduler.
const minPids = 64

// Violation is a wish that the operator's rules do not allow.
type Violation struct {
	App   app.Name
	Rule  string // "max_memory", "max_schedulers", "allow_path"
	Asked string // "vm_config.memory_limit 2048 MB"
	Limit string // "at most 1024 MB"
}

func (v *Violation) Error() string {
	return "grant " + string(v.App) + ": " + v.Asked + " breaks rule " + v.Rule + ": " + v.Limit
}

// Grant returns what spec may have, or a *Violation naming the rule it breaks.
// Embedded apps get no flows: they run in the host VM, behind no walls.
func (r Rules) Grant(spec app.Spec) (Grant, error) {
	if spec.Source.Type == app.SourcePath && !r.AllowPath {
		return Grant{}, &Violation{spec.Name, "allow_path", "a source of type path", "local folders are for sandboxctl run only"}
	}
	if spec.Isolation != app.VM {
		return Grant{}, nil
	}
	if err := r.limits(spec); err != nil {
		return Grant{}, err
	}
	return Grant{Flows: flows(spec), Messages: r.messages(spec), Privileges: r.privileges()}, nil
}

// limits holds the app's limits against the ceilings; without a limit of its
// own an app asks for all the host has, which is more than any ceiling.
func (r Rules) limits(spec app.Spec) error {
	vm := spec.VM
	if err := ceiling(vm.MemoryLimit, r.MaxMemory, "vm_config.memory_limit", "MB"); err != nil {
		err.App, err.Rule = spec.Name, "max_memory"
		return err
	}
	if err := ceiling(vm.SchedulerLimit, r.MaxSchedulers, "vm_config.scheduler_limit", "CPUs"); err != nil {
		err.App, err.Rule = spec.Name, "max_schedulers"
		return err
	}
	return nil
}

// ceiling compares one limit with one ceiling; 0 means none on either side.
func ceiling(asked, most int, key, unit string) *Violation {
	if most == 0 || asked > 0 && asked <= most {
		return nil
	}
	v := &Violation{Asked: fmt.Sprintf("%s %d %s", key, asked, unit), Limit: fmt.Sprintf("at most %d %s", most, unit)}
	if asked == 0 {
		v.Asked = "no " + key
	}
	return v
}

// flows opens EPMD, distribution and the declared ports, by port. A port that
// is both is called health.
func flows(spec app.Spec) []Flow {
	fs := []Flow{
		{Port: EPMDPort, Purpose: "epmd"},
		{Port: DistributionPort, Purpose: "distribution"},
	}
	for _, p := range spec.Ports() {
		f := Flow{Port: p, Purpose: "http_port", Publish: true}
		if spec.Health != nil && spec.Health.Port == p {
			f.Purpose = "health"
		}
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b Flow) int { return cmp.Compare(a.Port, b.Port) })
	return fs
}

func (r Rules) privileges() Privileges {
	return Privileges{
		Pids:       max(orElse(r.Pids, defaultPids), minPids),
		OpenFiles:  orElse(r.OpenFiles, defaultOpenFiles),
		TmpBytes:   orElse(r.TmpBytes, defaultTmpBytes),
		OCIRuntime: orElse(r.OCIRuntime, defaultRuntime),
		UserNS:     !r.NoUserNS,
	}
}

// orElse returns v, or its default when it is zero.
func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
