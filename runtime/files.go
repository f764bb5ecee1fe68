package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// guestFile is one file that a guest is given.
type guestFile struct {
	path  string // below the state folder, "home/.erlang.cookie"
	data  []byte
	owned bool // readable by the guest's user alone (0400), else by all
	// writable: the guest's user may write to it and to its folder.
	writable bool
}

// stateDir is a small tmpfs of one guest or job: secrets never reach a disk,
// and nothing of it outlives a reboot.
type stateDir string

// fill mounts the folder anew and writes files, secrets owned by uid.
func (d stateDir) fill(files []guestFile, uid uint32) error {
	if err := d.remove(); err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o711); err != nil {
		return fmt.Errorf("make a guest's state folder: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("tmpfs", string(d), "tmpfs", flags, "mode=0711,size=16m"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", d, err)
	}
	for _, f := range files {
		if err := d.write(f, uid); err != nil {
			return errors.Join(err, d.remove())
		}
	}
	return nil
}

func (d stateDir) write(f guestFile, uid uint32) error {
	path := filepath.Join(string(d), f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make a guest's state folder: %w", err)
	}
	mode := fs.FileMode(0o444)
	if f.owned {
		mode = 0o400
	}
	if err := os.WriteFile(path, f.data, mode); err != nil {
		return fmt.Errorf("write a guest's file: %w", err)
	}
	// Whatever our umask is, the guest reads what it is shown.
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, mode)); err != nil {
		return fmt.Errorf("open a guest's file to it: %w", err)
	}
	if !f.owned {
		return nil
	}
	if err := os.Chown(path, int(uid), int(uid)); err != nil {
		return fmt.Errorf("give a guest its file: %w", err)
	}
	if !f.writable {
		return nil
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(filepath.Dir(path), int(uid), int(uid))); err != nil {
		return fmt.Errorf("give a guest its file: %w", err)
	}
	return nil
}

// remove unmounts and removes the folder; one that is not there is fine.
func (d stateDir) remove() error {
	for {
		err := unix.Unmount(string(d), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // not, or no longer, a mount
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", d, err)
		}
	}
	if err := os.RemoveAll(string(d)); err != nil {
		return fmt.Errorf("remove a guest's state folder: %w", err)
	}
	return nil
}

// bind shows a path of the state folder at target, read-only.
func (d stateDir) bind(path, target string) specs.Mount {
	return specs.Mount{
		Destination: target, Type: "bind", Source: filepath.Join(string(d), path),
		Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	}
}

// etcFiles are the five files of /etc that a C library reads to find names:
// the guest's own host name is its own loopback, where the gateway answers,
// and no name is looked up anywhere else.
func etcFiles(hostname string) []guestFile {
	hosts := "127.0.0.1\tlocalhost\n"
	if hostname != "" && hostname != "localhost" {
		hosts += "127.0.0.1\t" + hostname + "\n"
	}
	return []guestFile{
		{path: "etc/hosts", data: []byte(hosts)},
		{path: "etc/nsswitch.conf", data: []byte("passwd: files\ngroup: files\nhosts: files\n")},
		{path: "etc/resolv.conf"},
		{path: "etc/passwd", data: []byte("root:x:0:0::/:/none\napp:x:1000:1000::" + guestHome + ":/none\n")},
		{path: "etc/group", data: []byte("root:x:0:\napp:x:1000:\n")},
	}
}

// etcMounts shows etcFiles to the guest.
func (d stateDir) etcMounts() []specs.Mount {
	var mounts []specs.Mount
	for _, f := range etcFiles("") {
		mounts = append(mounts, d.bind(f.path, "/"+f.path))
	}
	return mounts
}
