package main

import "golang.org/x/sys/unix"

const audit = uint32(unix.AUDIT_ARCH_X86_64)

// archCalls are the calls that only this architecture has.
func archCalls() []int {
	return []int{unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_ARCH_PRCTL}
}
