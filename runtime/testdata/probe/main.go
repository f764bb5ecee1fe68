// Command probe is the payload of the integration tests: it looks at the walls
// from inside and leans against them. Its arguments follow the word "probe".
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if i := slices.Index(args, "probe"); i >= 0 {
		args = args[i+1:]
	}
	if len(args) == 0 {
		args = []string{"wait"}
	}
	switch args[0] {
	case "exit":
		os.Exit(number(args))
	case "wait":
		fmt.Println("ready")
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM)
		<-ch
	case "alloc":
		allocate(number(args))
	case "spin":
		spin(number(args))
	case "threads":
		threads(number(args))
	case "flood":
		flood(number(args))
	case "look":
		look()
		time.Sleep(time.Hour)
	case "write":
		fmt.Println(os.WriteFile(args[1], []byte("made inside"), 0o644))
	case "read":
		data, err := os.ReadFile(args[1])
		fmt.Printf("%s %v\n", data, err)
	}
}

func number(args []string) int {
	n, _ := strconv.Atoi(args[1])
	return n
}

func allocate(mb int) {
	fmt.Println("allocating")
	var all [][]byte
	for range mb {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println("allocated", len(all))
	time.Sleep(time.Hour)
}

func spin(n int) {
	var sum atomic.Int64
	runtime.GOMAXPROCS(n)
	for range n {
		go func() {
			for {
				sum.Add(1)
			}
		}()
	}
	time.Sleep(time.Hour)
}

func threads(n int) {
	for range n {
		go func() {
			runtime.LockOSThread()
			time.Sleep(time.Hour)
		}()
	}
	time.Sleep(2 * time.Second)
	fmt.Println("made", n)
}

func flood(mb int) {
	line := []byte(strings.Repeat("x", 63) + "\n")
	for i := range mb << 20 / len(line) {
		copy(line, fmt.Sprintf("%09d", i))
		os.Stdout.Write(line)
	}
	fmt.Println("flooded")
	time.Sleep(time.Hour)
}

func look() {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		for _, key := range []string{"Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"} {
			if strings.HasPrefix(line, key) {
				fmt.Print(line)
			}
		}
	}
	host, _ := os.Hostname()
	fmt.Println("hostname", host)
	fmt.Println("write /", os.WriteFile("/x", nil, 0o600))
	fmt.Println("write /tmp", os.WriteFile("/tmp/x", []byte("#!"), 0o700))
	fmt.Println("exec /tmp", syscall.Exec("/tmp/x", []string{"x"}, nil))
	fmt.Println("fill /tmp", fill("/tmp/y"))
	_, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	fmt.Println("packet socket", err)
	_, err = syscall.Socket(38, syscall.SOCK_SEQPACKET, 0)
	fmt.Println("alg socket", err)
	fmt.Println("unshare", syscall.Unshare(syscall.CLONE_NEWUSER))
	fmt.Println("mount", syscall.Mount("x", "/tmp", "tmpfs", 0, ""))
	fmt.Println("ptrace", syscall.PtraceAttach(1))
	fmt.Println("write /proc/sys", os.WriteFile("/proc/sys/kernel/hostname", []byte("x"), 0o600))
	dev, _ := filepath.Glob("/dev/*")
	fmt.Println("dev", dev)
	root, _ := filepath.Glob("/*")
	fmt.Println("root", root)
	procs, _ := filepath.Glob("/proc/[0-9]*")
	fmt.Println("processes", len(procs))
	cookie, err := os.ReadFile(os.Getenv("HOME") + "/.erlang.cookie")
	fmt.Println("cookie", string(cookie), err)
	env, err := os.ReadFile("/run/beamsandbox/env.config")
	fmt.Println("env", strings.Join(strings.Fields(string(env)), " "), err)
	hosts, _ := os.ReadFile("/etc/hosts")
	fmt.Printf("hosts %q\n", hosts)
	ifs, _ := net.Interfaces()
	fmt.Println("interfaces", len(ifs))
	var lim syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	fmt.Println("nofile", lim.Cur, lim.Max)
	fmt.Println("looked")
}

func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	block := make([]byte, 1<<20)
	for range 4096 {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}
