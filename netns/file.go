package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ensureFile bind-mounts a new network namespace at path unless there is one
// already. The mount keeps the namespace alive without a process in it.
func ensureFile(path string) error {
	mounted, err := isNamespace(path)
	if err != nil || mounted {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make namespace file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make namespace file: %w", err)
	}
	done := make(chan error)
	go func() { done <- mountNew(path) }()
	return <-done
}

// mountNew never unlocks its thread, which sits in the new namespace: the
// thread ends with the goroutine.
func mountNew(path string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount network namespace at %s: %w", path, err)
	}
	return nil
}

// isNamespace says whether a namespace is mounted at path. A crash may leave
// a plain file there.
func isNamespace(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at namespace file %s: %w", path, err)
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

// removeFile unmounts and removes a namespace file. The unmount is lazy, so
// that a process inside does not hinder it.
func removeFile(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			break // nothing mounted, or nothing there
		}
		if err != nil {
			return fmt.Errorf("unmount namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace file: %w", err)
	}
	return nil
}
