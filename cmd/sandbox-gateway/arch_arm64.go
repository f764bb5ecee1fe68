package main

import "golang.org/x/sys/unix"

const audit = uint32(unix.AUDIT_ARCH_AARCH64)

// archCalls are the calls that only this architecture has.
func archCalls() []int { return nil }
