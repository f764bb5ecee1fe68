package main

import "golang.org/x/sys/unix"

// call is one system call that passes the filter, perhaps only with some
// arguments. Every other call fails with EPERM.
type call struct {
	nr uint32
	// check, when set, is a program over the low half of argument arg; it must
	// return.
	arg   uint32
	check []unix.SockFilter
}

// Offsets in struct seccomp_data (seccomp(2)).
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// filter compiles an allow list: calls of another architecture end the
// process, calls that are not listed fail with errno.
func filter(arch, errno uint32, allowed []call) []unix.SockFilter {
	p := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, arch, 1, 0),
		ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataNr),
	}
	for _, c := range allowed {
		body := []unix.SockFilter{ret(unix.SECCOMP_RET_ALLOW)}
		if c.check != nil {
			body = append([]unix.SockFilter{load(dataArgs + 8*c.arg)}, c.check...)
		}
		p = append(p, jump(unix.BPF_JEQ, c.nr, 0, uint8(len(body))))
		p = append(p, body...)
	}
	return append(p, ret(unix.SECCOMP_RET_ERRNO|errno))
}

// oneOf passes a call whose argument is one of values.
func oneOf(errno uint32, values ...uint32) []unix.SockFilter {
	var p []unix.SockFilter
	for _, v := range values {
		p = append(p, jump(unix.BPF_JEQ, v, 0, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(p, ret(unix.SECCOMP_RET_ERRNO|errno))
}

// with passes a call whose argument has a bit of mask set, without one that
// has none.
func with(mask uint32) []unix.SockFilter {
	return []unix.SockFilter{
		jump(unix.BPF_JSET, mask, 0, 1),
		ret(unix.SECCOMP_RET_ALLOW),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
}

func without(mask uint32) []unix.SockFilter {
	return []unix.SockFilter{
		jump(unix.BPF_JSET, mask, 1, 0),
		ret(unix.SECCOMP_RET_ALLOW),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func ret(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}

// calls is what Go's runtime and its network poller need once a program runs.
// There is no way to open a file, to start a program or to make a thread that
// is not one of ours, and memory never becomes executable.
func calls() []call {
	all := []call{
		{nr: unix.SYS_SOCKET, arg: 0, check: oneOf(uint32(unix.EAFNOSUPPORT), unix.AF_INET, unix.AF_INET6)},
		{nr: unix.SYS_CLONE, arg: 0, check: with(unix.CLONE_THREAD)},
		// The C library makes threads by clone when this one is not there; its
		// arguments lie in memory, where a filter cannot look.
		{nr: unix.SYS_CLONE3, check: []unix.SockFilter{ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))}},
		{nr: unix.SYS_MMAP, arg: 2, check: without(unix.PROT_EXEC)},
		{nr: unix.SYS_MPROTECT, arg: 2, check: without(unix.PROT_EXEC)},
	}
	for _, nr := range append(archCalls(),
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_CLOSE,
		unix.SYS_FSTAT, unix.SYS_LSEEK, unix.SYS_FCNTL, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2,
		unix.SYS_SPLICE, unix.SYS_EVENTFD2,

		unix.SYS_CONNECT, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_SHUTDOWN,
		unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
		unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_PPOLL,

		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MEMBARRIER,
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP,
		unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
		unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_RESTART_SYSCALL,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_TGKILL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
		unix.SYS_GETRANDOM, unix.SYS_UNAME,
	) {
		all = append(all, call{nr: uint32(nr)})
	}
	return all
}
