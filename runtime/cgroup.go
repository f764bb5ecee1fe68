package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is where this machine keeps control groups: one tree (v2), or one
// per controller (v1; a "hybrid" machine keeps its controllers there too).
type hierarchy struct {
	root    string
	unified bool
}

func machineCgroups() hierarchy {
	return hierarchy{root: cgroupRoot, unified: cgroups.Mode() == cgroups.Unified}
}

// dir is the directory of group under controller ("memory", "cpuacct").
func (h hierarchy) dir(controller, group string) string {
	if h.unified {
		return filepath.Join(h.root, group)
	}
	return filepath.Join(h.root, controller, group)
}

// swapLimited reports whether memory and swap can be limited together; on v2
// the runtime leaves a limit out by itself where swap is not counted.
func (h hierarchy) swapLimited() bool {
	if h.unified {
		return true
	}
	_, err := os.Stat(filepath.Join(h.root, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// oomKills is how many processes of group the kernel killed for memory.
func (h hierarchy) oomKills(group string) (uint64, error) {
	file := "memory.oom_control"
	if h.unified {
		file = "memory.events"
	}
	return readCounter(filepath.Join(h.dir("memory", group), file), "oom_kill")
}

// forkFails is how often group wanted one process too many.
func (h hierarchy) forkFails(group string) (uint64, error) {
	return readCounter(filepath.Join(h.dir("pids", group), "pids.events"), "max")
}

// memory is what group uses in bytes, less file pages the kernel can drop.
func (h hierarchy) memory(group string) (uint64, error) {
	dir, usage, inactive := h.dir("memory", group), "memory.usage_in_bytes", "total_inactive_file"
	if h.unified {
		usage, inactive = "memory.current", "inactive_file"
	}
	used, err := readNumber(filepath.Join(dir, usage))
	if err != nil {
		return 0, err
	}
	cache, err := readCounter(filepath.Join(dir, "memory.stat"), inactive)
	if err != nil {
		return 0, err
	}
	return used - min(cache, used), nil
}

// cpu is the CPU time that group has used.
func (h hierarchy) cpu(group string) (time.Duration, error) {
	if h.unified {
		us, err := readCounter(filepath.Join(h.dir("", group), "cpu.stat"), "usage_usec")
		return time.Duration(us) * time.Microsecond, err
	}
	ns, err := readNumber(filepath.Join(h.dir("cpuacct", group), "cpuacct.usage"))
	return time.Duration(ns), err
}

// clear kills what still runs in group and waits until nothing does:
// processes of a guest that containerd no longer knows.
func (h hierarchy) clear(ctx context.Context, group string) error {
	procs := filepath.Join(h.dir("pids", group), "cgroup.procs")
	for {
		raw, err := os.ReadFile(procs)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a control group: %w", err)
		}
		pids := strings.Fields(string(raw))
		if len(pids) == 0 {
			return nil
		}
		for _, text := range pids {
			if pid, err := strconv.Atoi(text); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is empty: %w", group, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// remove takes group away from every hierarchy; one that still has children or
// processes stays, as does one that never was.
func (h hierarchy) remove(group string) error {
	dirs := []string{filepath.Join(h.root, group)}
	if !h.unified {
		var err error
		if dirs, err = filepath.Glob(filepath.Join(h.root, "*", group)); err != nil {
			return fmt.Errorf("find control group %s: %w", group, err)
		}
	}
	var errs []error
	for _, dir := range dirs {
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, fmt.Errorf("remove control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

func readNumber(path string) (uint64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: found %q, expected a number", path, raw)
	}
	return n, nil
}

func readCounter(path, key string) (uint64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %w", err)
	}
	n, err := counter(string(raw), key)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

// counter finds key in lines of "key number", the form of memory.oom_control
// (v1), memory.events, memory.stat and cpu.stat (cgroups(7)).
func counter(text, key string) (uint64, error) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name != key {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("counter %s: found %q, expected a number", key, value)
		}
		return n, nil
	}
	return 0, fmt.Errorf("counter %s: not there", key)
}
