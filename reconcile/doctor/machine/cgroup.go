package machine

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/status"
)

// cgroupRoot is where control groups are mounted (cgroups(7)).
const cgroupRoot = "/sys/fs/cgroup"

// needed are the controllers that guests' limits hang on.
func needed() []string { return []string{"memory", "cpu", "pids"} }

// cgroups checks the version and that each controller is there and ours to use.
func cgroups() status.Check {
	const name = "cgroups"
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil {
		return status.Bad(name, cgroupRoot+": "+err.Error(), "mount control groups, as systemd does")
	}
	version, dirs := "v1", controllersV1()
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		version, dirs = "v2", controllersV2()
	}
	var missing, closed []string
	for _, c := range needed() {
		dir, there := dirs[c]
		switch {
		case !there:
			missing = append(missing, c)
		case unix.Access(dir, unix.W_OK) != nil:
			closed = append(closed, c)
		}
	}
	switch {
	case len(missing) > 0:
		return status.Bad(name, fmt.Sprintf("%s without %s", version, strings.Join(missing, ", ")),
			"enable it (kernel command line cgroup_enable=memory, or mount the controller): limits of guests hang on it")
	case len(closed) > 0:
		return status.Bad(name, fmt.Sprintf("%s, %s may not be written", version, strings.Join(closed, ", ")),
			"run as root, with "+cgroupRoot+" mounted for writing")
	}
	return status.Good(name, version+" with "+strings.Join(needed(), ", "))
}

// controllersV2 are the controllers of the one tree and where it is.
func controllersV2() map[string]string {
	dirs := map[string]string{}
	names, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
	if err != nil {
		return dirs
	}
	for _, c := range strings.Fields(string(names)) {
		dirs[c] = cgroupRoot
	}
	return dirs
}

// controllersV1 are the controllers that are mounted, and where. A line of
// mountinfo ends in "- TYPE SOURCE OPTIONS" (proc_pid_mountinfo(5)).
func controllersV1() map[string]string {
	dirs := map[string]string{}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return dirs
	}
	for line := range strings.Lines(string(mounts)) {
		front, back, ok := strings.Cut(line, " - ")
		place, kind := strings.Fields(front), strings.Fields(back)
		if !ok || len(place) < 5 || len(kind) < 3 || kind[0] != "cgroup" {
			continue
		}
		for _, c := range needed() {
			if slices.Contains(strings.Split(kind[2], ","), c) {
				dirs[c] = place[4]
			}
		}
	}
	// A mount may lie below another one that came later.
	for c, dir := range dirs {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) != nil || fs.Type != unix.CGROUP_SUPER_MAGIC {
			delete(dirs, c)
		}
	}
	return dirs
}
