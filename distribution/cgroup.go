package distribution

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// memoryMax is what the gateway's control group may take, in bytes: what
	// its garbage collector aims at, and half as much for the kernel's buffers
	// of its connections.
	memoryMax = 768 << 20
	// groupPrefix begins the names of gateways' control groups, which lie
	// beside those of guests.
	groupPrefix = "beamsandbox-gateway-"
)

// group is the control group of one gateway (cgroups(7)), of either version.
type group struct {
	dir, limit string
	enable     string // v2: where a parent hands its controllers on
}

// newGroup names the group of the gateway of a run folder, below root, which is
// where control groups are mounted.
func newGroup(root, runDir string) (group, error) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(runDir))
	name := groupPrefix + strconv.FormatUint(uint64(sum.Sum32()), 16)
	if v1 := filepath.Join(root, "memory"); there(filepath.Join(v1, "cgroup.procs")) {
		return group{dir: filepath.Join(v1, name), limit: "memory.limit_in_bytes"}, nil
	}
	if there(filepath.Join(root, "cgroup.controllers")) {
		return group{dir: filepath.Join(root, name), limit: "memory.max", enable: filepath.Join(root, "cgroup.subtree_control")}, nil
	}
	return group{}, fmt.Errorf("find the memory controller in %s: neither version of control groups is mounted there", root)
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hold bounds the memory of a process that has just begun.
func (g group) hold(pid int) error {
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make control group: %w", err)
	}
	if g.enable != "" {
		if err := write(g.enable, "+memory"); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(g.dir, g.limit), strconv.Itoa(memoryMax)); err != nil {
		return err
	}
	return write(filepath.Join(g.dir, "cgroup.procs"), strconv.Itoa(pid))
}

// remove takes the group away, unless a process is in it. The zero group has
// nothing to remove.
func (g group) remove() error {
	if g.dir == "" {
		return nil
	}
	err := os.Remove(g.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return err
}

// write writes to a file that is there already.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %q to control group: %w", text, err)
	}
	return nil
}
