package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"beamsandbox/distribution/epmd"
)

// Leftovers lists what is still on the machine of everything that ran on this
// stage: processes, mounts, namespaces, links, firewall tables, names at the
// port mapper, cgroups and files of run_dir. Caches under Root are meant to
// stay and are not listed.
func (s *Stage) Leftovers(ctx context.Context) ([]string, error) {
	var left []string
	for _, list := range []func(context.Context) ([]string, error){
		s.processes, s.mounts, s.links, s.tables, s.names, s.cgroups, s.files,
	} {
		found, err := list(ctx)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	return left, nil
}

// AwaitNothing waits until Leftovers lists nothing but what is named; past ctx
// the error says what there is.
func (s *Stage) AwaitNothing(ctx context.Context, but ...string) error {
	var left []string
	var listed error
	err := Until(ctx, "nothing is left", func() bool {
		left, listed = s.Leftovers(context.WithoutCancel(ctx))
		left = slices.DeleteFunc(left, func(l string) bool { return slices.Contains(but, l) })
		return listed == nil && len(left) == 0
	})
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %q", err, left), listed)
	}
	return nil
}

// processes are those of the stage, but its own children.
func (s *Stage) processes(context.Context) ([]string, error) {
	own := map[int]bool{os.Getpid(): true}
	for _, p := range s.procs {
		own[p.Pid] = own[p.Pid] || p.Running()
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	var left []string
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		cmd, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil || own[pid] {
			continue
		}
		line := strings.TrimSpace(strings.ReplaceAll(string(cmd), "\x00", " "))
		if belongs(d, s.RunDir) || belongs(d, s.Root) {
			left = append(left, fmt.Sprintf("process %d: %.120s", pid, line))
		}
	}
	return left, err
}

func (s *Stage) mounts(context.Context) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	var left []string
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) > 1 && (strings.HasPrefix(f[1], s.RunDir) || strings.HasPrefix(f[1], s.Root)) {
			left = append(left, "mount "+f[1])
		}
	}
	return left, err
}

// linkPrefix begins the name of every host end of a guest's veth.
const linkPrefix = "bs"

func (s *Stage) links(context.Context) ([]string, error) {
	links, err := netlink.LinkList()
	var left []string
	for _, l := range links {
		if l.Type() == "veth" && strings.HasPrefix(l.Attrs().Name, linkPrefix) {
			left = append(left, "link "+l.Attrs().Name)
		}
	}
	return left, err
}

func (s *Stage) tables(context.Context) ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTables()
	var left []string
	for _, t := range tables {
		if strings.HasPrefix(t.Name, "beamsandbox") {
			left = append(left, "nft table "+t.Name)
		}
	}
	return left, err
}

// names are those at the machine's port mapper without a node of the stage.
func (s *Stage) names(ctx context.Context) ([]string, error) {
	if !answers(EPMD) {
		return nil, nil
	}
	registered, err := epmd.Names(ctx, netip.MustParseAddrPort(EPMD))
	if err != nil {
		return nil, err
	}
	var left []string
	for _, n := range registered {
		if !s.ownNode(n.Name) {
			left = append(left, "epmd name "+n.Name)
		}
	}
	return left, nil
}

func (s *Stage) ownNode(name string) bool {
	for _, p := range s.procs {
		if p.Name == "host-"+name && p.Running() {
			return true
		}
	}
	return false
}

func (s *Stage) cgroups(context.Context) ([]string, error) {
	var left []string
	for _, pattern := range []string{"/sys/fs/cgroup/beamsandbox/*", "/sys/fs/cgroup/*/beamsandbox/*"} {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, d := range dirs {
			if i, err := os.Stat(d); err == nil && i.IsDir() {
				left = append(left, "cgroup "+d)
			}
		}
	}
	return left, nil
}

func (s *Stage) files(context.Context) ([]string, error) {
	var left []string
	for _, pattern := range []string{"netns/*", "guests/*"} {
		found, err := filepath.Glob(filepath.Join(s.RunDir, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			left = append(left, "file "+f)
		}
	}
	return left, nil
}

// belongs reports whether a process, a folder of /proc, names dir on its
// command line or writes to a file in it: the gateway's arguments name nothing.
func belongs(proc, dir string) bool {
	cmd, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return false
	}
	output, _ := os.Readlink(filepath.Join(proc, "fd/1"))
	return strings.Contains(string(cmd), dir) || strings.HasPrefix(output, dir+"/")
}

// PidsOf finds the processes whose command is called name and that belong to
// dir.
func PidsOf(name, dir string) ([]int, error) {
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, d := range found {
		cmd, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil || !belongs(d, dir) {
			continue
		}
		if program, _, _ := strings.Cut(string(cmd), "\x00"); filepath.Base(program) == name {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// PidOf is the first of PidsOf.
func PidOf(name, dir string) (int, error) {
	pids, err := PidsOf(name, dir)
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("no process %s of %s", name, dir)
	}
	if err != nil {
		return 0, err
	}
	return pids[0], nil
}
