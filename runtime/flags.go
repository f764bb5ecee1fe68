package runtime

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Places inside a guest. The cookie is home's .erlang.cookie, where auth(3)
// looks by itself; the app's environment is a configuration file of its own,
// read after the release's.
const (
	guestHome   = "/home/app"
	guestRun    = "/run/beamsandbox"
	guestConfig = "env.config"
	cookieFile  = ".erlang.cookie"
)

// dirtyIO is the number of threads for blocking I/O (erl(1), +SDio); ten, the
// default, is ten more stacks in every guest.
const dirtyIO = 4

func (r Release) dir() string    { return path.Join(r.Root, "releases", r.Version) }
func (r Release) bin() string    { return path.Join(r.Root, "erts-"+r.ERTS, "bin") }
func (r Release) config() string { return path.Join(r.dir(), "sys.config") }
func (r Release) vmArgs() string { return path.Join(r.dir(), "vm.args") }

// command is the argument vector of a guest: erlexec directly, as no shell is
// in the image. Where an option comes twice the later one holds, so ours
// follow the release's and the app's extra_args end the line. cpus is what
// schedulers are made for when the app asks for no limit.
func command(c Config, cpus int, has releaseFiles) []string {
	r := c.Release
	args := []string{
		path.Join(r.bin(), "erlexec"), "-noinput",
		"-boot", path.Join(r.dir(), "start"),
		"-boot_var", "ERTS_LIB_DIR", path.Join(r.Root, "lib"),
		"-boot_var", "RELEASE_LIB", path.Join(r.Root, "lib"),
	}
	if has.vmArgs {
		args = append(args, "-args_file", has.argsPath(r))
	}
	if has.sysConfig {
		args = append(args, "-config", strings.TrimSuffix(has.configPath(r), ".config"))
	}
	args = append(args, "-config", path.Join(guestRun, strings.TrimSuffix(guestConfig, ".config")), "-mode", mode(c.VM))
	args = append(args, schedulers(c.VM, cpus)...)
	args = append(args, distributionFlags(c)...)
	args = append(args, c.VM.ExtraArgs...)
	if has.elixir {
		// What mix's script adds: Elixir's own start, which ends the emulator
		// unless it is told not to.
		args = append(args, "-s", "elixir", "start_cli", "-extra", "--no-halt")
	}
	return args
}

// mode is when code is loaded (code(3)). Interactive starts a guest three
// times as fast in half the memory; it is the default.
func mode(vm app.VMConfig) string {
	return string(orDefault(vm.CodeLoading, app.LoadInteractive))
}

// schedulers fixes the number of threads: the emulator does not see a CPU
// quota from inside private mounts, and busy waiting burns the quota.
func schedulers(vm app.VMConfig, cpus int) []string {
	if vm.SchedulerLimit > 0 {
		cpus = vm.SchedulerLimit
	}
	n := strconv.Itoa(cpus)
	pair := n + ":" + n
	return []string{
		"+S", pair, "+SDcpu", pair, "+SDio", strconv.Itoa(dirtyIO),
		"+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+Q", "65536",
	}
}

// distributionFlags make the guest a short-named node that listens on one port
// of its own address and never starts a port mapper.
func distributionFlags(c Config) []string {
	if c.Node == "" {
		return nil
	}
	args := append([]string{"-sname", c.Node, "-start_epmd", "false"}, tlsFlags(c)...)
	if c.DistPort != 0 {
		port := strconv.Itoa(int(c.DistPort))
		args = append(args, "-kernel", "inet_dist_listen_min", port, "-kernel", "inet_dist_listen_max", port)
	}
	if c.Guest.Is4() {
		a := c.Guest.As4()
		args = append(args, "-kernel", "inet_dist_use_interface", fmt.Sprintf("{%d,%d,%d,%d}", a[0], a[1], a[2], a[3]))
	}
	return args
}

// environment is what a release's own start script would set. There is no
// cookie in it, and crash dumps are off: they would fill /tmp.
func environment(c Config, has releaseFiles) []string {
	r := c.Release
	env := []string{
		"ROOTDIR=" + r.Root, "BINDIR=" + r.bin(), "EMU=beam", "PROGNAME=erl",
		"HOME=" + guestHome, "LANG=C.UTF-8", "PATH=" + r.bin(),
		"ERL_CRASH_DUMP_SECONDS=0",
		"RELEASE_ROOT=" + r.Root, "RELEASE_NAME=" + r.Name, "RELEASE_VSN=" + r.Version,
		"RELEASE_MODE=" + mode(c.VM), "RELEASE_TMP=/tmp", "RELEASE_COMMAND=start", "RELEASE_PROG=" + r.Name,
		"RELEASE_BOOT_SCRIPT=start", "RELEASE_ROOT_DIR=" + r.Root, "REL_NAME=" + r.Name, "REL_VSN=" + r.Version,
		"HOSTNAME=" + c.Hostname,
	}
	if c.Node != "" {
		env = append(env, "RELEASE_NODE="+c.Node, "RELEASE_DISTRIBUTION=sname")
	}
	if has.sysConfig {
		env = append(env, "RELEASE_SYS_CONFIG="+strings.TrimSuffix(has.configPath(r), ".config"))
	}
	if has.vmArgs {
		env = append(env, "RELEASE_VM_ARGS="+has.argsPath(r))
	}
	return append(env, variables(c.Env)...)
}

// envConfig is the text of the extra configuration file (config(4)): the
// application's environment from its spec, keys in order.
func envConfig(name app.Name, env map[string]term.Term) []byte {
	var pairs term.List
	for _, key := range sortedKeys(env) {
		if app.IsVariable(key) {
			continue // in the guest's environment
		}
		pairs.Elems = append(pairs.Elems, term.Tuple{term.Atom(key), env[key]})
	}
	var apps term.List
	if len(pairs.Elems) > 0 {
		apps.Elems = []term.Term{term.Tuple{term.Atom(name), pairs}}
	}
	return term.WriteConsult(apps)
}

func sortedKeys(env map[string]term.Term) []string {
	keys := make([]string, 0, len(env))
	for key := range env {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
