package images

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A work is the folder of one build: out, which the host writes, and guest, a
// file system of its own that the build sees and that can be filled without
// filling the machine's.
type work struct {
	name  string // of the app
	dir   string
	guest string
	disk  int64 // bytes that guest may hold
}

// workDir makes the folder of one build. Only root may enter the folder above
// it: what a builder writes keeps whatever mode the builder gave it.
func (s *Store) workDir(name string) (w work, err error) {
	if err := os.MkdirAll(s.path("work"), 0o700); err != nil {
		return work{}, fmt.Errorf("make a folder to build %s in: %w", name, err)
	}
	dir, err := os.MkdirTemp(s.path("work"), name+"-")
	if err != nil {
		return work{}, fmt.Errorf("make a folder to build %s in: %w", name, err)
	}
	w = work{name: name, dir: dir, guest: filepath.Join(dir, "guest"), disk: s.disk}
	if err := w.fill(); err != nil {
		return work{}, errors.Join(fmt.Errorf("make a folder to build %s in: %w", name, err), w.remove())
	}
	return w, nil
}

func (w work) fill() error {
	for _, dir := range []string{w.guest, filepath.Join(w.dir, "out", "release")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := w.mount(); err != nil {
		return err
	}
	for _, dir := range []string{"src", "home"} {
		if err := os.Mkdir(filepath.Join(w.guest, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// src is where the source goes.
func (w work) src() string { return filepath.Join(w.guest, "src") }

// release is where the host collects what was built.
func (w work) release() string { return filepath.Join(w.dir, "out", "release") }

// job is unique while the folder exists, and short enough for a network
// namespace's name.
func (w work) job() string {
	return w.name[:min(len(w.name), 40)] + strings.TrimPrefix(filepath.Base(w.dir), w.name)
}

// image is the file that holds the guest's file system.
func (w work) image() string { return filepath.Join(w.dir, "guest.ext4") }

// mount makes an ext4 in a sparse file and mounts it through a loop device
// (loop(4)) that goes with the mount. tmpfs would do, but kernels before 6.3
// cannot show it to a user namespace, and its files would count as memory.
func (w work) mount() error {
	mke2fs, err := findMke2fs()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(w.image(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the loop device holds it
	if err := f.Truncate(w.disk); err != nil {
		return err
	}
	// No journal: nobody reads it after a crash.
	make := exec.Command(mke2fs, "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", w.image())
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("make a file system of %d MB: %w: %.200s", w.disk>>20, err, out)
	}
	device, err := attach(f)
	if err != nil {
		return fmt.Errorf("attach %s to a loop device: %w", w.image(), err)
	}
	defer device.Close() //nolint:errcheck // the mount holds it
	if err := unix.Mount(device.Name(), w.guest, "ext4", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", device.Name(), err)
	}
	return os.RemoveAll(filepath.Join(w.guest, "lost+found"))
}

// findMke2fs looks on PATH and where Debian keeps it: sbin is not on every
// root's PATH.
func findMke2fs() (string, error) {
	for _, name := range []string{"mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", errors.New("find mke2fs, which bounds the disk of builds: install e2fsprogs")
}

// attach gives f a loop device; somebody else may take the free one first.
func attach(f *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close() //nolint:errcheck // nothing was written
	for range 100 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close() //nolint:errcheck // nothing was written
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, errors.New("every free device is taken at once by somebody else")
}

// full reports whether the build used all its disk, or all its files.
func (w work) full() bool {
	var st unix.Statfs_t
	if unix.Statfs(w.guest, &st) != nil {
		return false
	}
	return int64(st.Bavail)*st.Bsize < 1<<20 || st.Ffree < 16
}

// remove takes the folder away; what was mounted in it is gone.
func (w work) remove() error {
	return errors.Join(unmount(w.guest), os.RemoveAll(w.dir))
}

// unmount succeeds when nothing is mounted at p.
func unmount(p string) error {
	err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", p, err)
	}
	return nil
}

// sweepWork takes away what a killed process left half done.
func sweepWork(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened to read
	var mounts []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text()) // proc(5): the fifth is the mount point
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			mounts = append(mounts, fields[4])
		}
	}
	for _, p := range slices.Backward(mounts) {
		if err := unmount(p); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
