package runtime

import (
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// innerUID is the user and group of every guest and job, as they see it.
const innerUID = 1000

// uidSpan is the size of the range of user ids that one guest or job owns.
const uidSpan = 65536

// cpuPeriod is the CPU quota's period in microseconds.
const cpuPeriod = 100_000

// walls is everything that stands around one guest or job, in the terms of the
// OCI runtime specification's config.json.
type walls struct {
	args, env []string
	dir       string

	hostname string
	netNS    string // path; "": a new one with nothing but a loopback that is down
	cgroup   string // path in every hierarchy, "/beamsandbox/pulse"
	uidBase  uint32
	userNS   bool // uidBase+id outside is id inside; else the one user uidBase+1000

	memory   int64 // bytes, 0: unlimited
	memSwap  bool  // the kernel counts memory and swap together (v1), or v2
	cpus     int   // quota in CPUs, 0: none
	pids     int64
	files    uint64
	tmpBytes int64
	tmpExec  bool
	unified  bool // cgroup v2

	mounts []specs.Mount
}

// uid is the user outside that owns what the guest owns.
func (w walls) uid() uint32 { return w.uidBase + innerUID }

// spec is the OCI configuration of w.
func (w walls) spec() *specs.Spec {
	s := &specs.Spec{
		Version:  "1.1.0",
		Hostname: w.hostname,
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Process:  w.process(),
		Mounts:   slices.Concat(w.baseMounts(), w.mounts),
		Linux: &specs.Linux{
			CgroupsPath:   w.cgroup,
			Namespaces:    w.namespaces(),
			Resources:     w.resources(),
			MaskedPaths:   slices.Clone(maskedPaths),
			ReadonlyPaths: slices.Clone(readonlyPaths),
		},
	}
	if w.userNS {
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: w.uidBase, Size: uidSpan}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = ids, slices.Clone(ids)
	}
	s.Linux.Seccomp = syscalls(s)
	return s
}

func (w walls) process() *specs.Process {
	user := uint32(innerUID)
	if !w.userNS {
		user = w.uid()
	}
	none := []string{}
	return &specs.Process{
		Args: w.args, Env: w.env, Cwd: w.dir,
		User:            specs.User{UID: user, GID: user},
		NoNewPrivileges: true,
		Capabilities: &specs.LinuxCapabilities{
			Bounding: none, Effective: none, Inheritable: none, Permitted: none, Ambient: none,
		},
		Rlimits: []specs.POSIXRlimit{
			{Type: "RLIMIT_NOFILE", Hard: w.files, Soft: w.files},
			{Type: "RLIMIT_CORE", Hard: 0, Soft: 0},
		},
	}
}

func (w walls) namespaces() []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
		{Type: specs.NetworkNamespace, Path: w.netNS},
	}
	if w.userNS {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return ns
}

// baseMounts: the runtime adds the devices null, zero, full, random, urandom
// and tty by itself. There is no /sys: a user namespace that does not own the
// network namespace may not mount it, and BEAM has no use for it.
func (w walls) baseMounts() []specs.Mount {
	tmp := []string{"nosuid", "nodev", "mode=1777", fmt.Sprintf("size=%d", w.tmpBytes)}
	if !w.tmpExec {
		tmp = append(tmp, "noexec")
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=65536"}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: tmp},
	}
}

func (w walls) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Pids:    &specs.LinuxPids{Limit: &w.pids},
	}
	if w.memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &w.memory}
		if w.memSwap {
			r.Memory.Swap = &w.memory // memory and swap together: no swap
		}
		if w.unified {
			r.Unified = map[string]string{"memory.oom.group": "1"}
		}
	}
	if w.cpus > 0 {
		quota, period := int64(w.cpus)*cpuPeriod, uint64(cpuPeriod)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return r
}

// maskedPaths and readonlyPaths are those of the common container engines.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
		"/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// refused are system calls that containerd's default profile lets an
// unprivileged process make and that neither BEAM nor a build needs: looking
// into other processes, the kernel's keyring, and quick ways to its races.
var refused = []string{
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
	"add_key", "keyctl", "request_key", "userfaultfd", "memfd_secret",
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"perf_event_open", "bpf", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
	"lookup_dcookie", "modify_ldt", "vmsplice", "name_to_handle_at",
}

// families are the socket families left: local, IPv4, IPv6, and the netlink
// that getifaddrs(3) asks for addresses.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// syscalls is the seccomp profile: containerd's, which denies what it does not
// name, less refused and less every other socket family.
func syscalls(s *specs.Spec) *specs.LinuxSeccomp {
	profile := seccomp.DefaultProfile(s)
	var kept []specs.LinuxSyscall
	for _, rule := range profile.Syscalls {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool {
			return name == "socket" || slices.Contains(refused, name)
		})
		if len(rule.Names) > 0 {
			kept = append(kept, rule)
		}
	}
	for _, family := range families {
		kept = append(kept, specs.LinuxSyscall{
			Names: []string{"socket"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: family, Op: specs.OpEqualTo}},
		})
	}
	profile.Syscalls = kept
	return profile
}
