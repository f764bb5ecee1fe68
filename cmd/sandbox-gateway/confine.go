package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// openFiles is how many descriptors the gateway wants: some five for each
	// guest, and two for each forwarded connection.
	openFiles = 65536
	// logBytes is the largest file the gateway can write, its log.
	logBytes = 16 << 20
)

// confine gives up for good what the gateway does not need: files, programs,
// privileges, most system calls.
func confine() error {
	if err := limit(); err != nil {
		return err
	}
	name := [16]byte{}
	copy(name[:15], "sandbox-gateway") // ps would show the descriptor's number
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	// No_new_privs and the filter are set by one thread and spread to all of
	// them by TSYNC (seccomp(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	program := filter(audit, uint32(unix.EPERM), calls())
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("set seccomp filter: %w", errno)
	}
	return nil
}

// limit sets the resource limits (getrlimit(2)).
func limit() error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	files.Max = min(files.Max, openFiles)
	files.Cur = files.Max
	for _, l := range []struct {
		what     string
		resource int
		value    unix.Rlimit
	}{
		{"open files", unix.RLIMIT_NOFILE, files},
		{"core size", unix.RLIMIT_CORE, unix.Rlimit{}},
		{"file size", unix.RLIMIT_FSIZE, unix.Rlimit{Cur: logBytes, Max: logBytes}},
		{"locked memory", unix.RLIMIT_MEMLOCK, unix.Rlimit{}},
		{"message queues", unix.RLIMIT_MSGQUEUE, unix.Rlimit{}},
	} {
		if err := unix.Setrlimit(l.resource, &l.value); err != nil {
			return fmt.Errorf("limit %s: %w", l.what, err)
		}
	}
	return nil
}
