package app

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of vm_config.
const (
	minMemory, maxMemory = 16, 1 << 20 // MB; a BEAM needs about 30
	maxSchedulers        = 1024        // erl(1), +S
	maxArgs, maxArg      = 64, 4096    // count, bytes of one
)

func (d *document) vm(top section) VMConfig {
	n := top.value("vm_config")
	if n == nil {
		return VMConfig{}
	}
	s := d.section(n, "vm_config", "memory_limit", "scheduler_limit", "node_prefix", "extra_args", "code_loading")
	vm := VMConfig{
		MemoryLimit:    s.integer("memory_limit", "megabytes", minMemory, maxMemory),
		SchedulerLimit: s.integer("scheduler_limit", "CPUs", 1, maxSchedulers),
		ExtraArgs:      d.extraArgs(s),
		CodeLoading:    CodeLoading(s.choice("code_loading", "", string(LoadInteractive), string(LoadEmbedded))),
	}
	if s.value("node_prefix") != nil {
		form := "letters, digits, _ and -, at most 64"
		prefix := s.text("node_prefix", form, func(t string) bool { return len(t) <= 64 && only(t, "_-") })
		vm.NodePrefix = &prefix
	}
	return vm
}

func (d *document) extraArgs(s section) []string {
	const form = `a list of strings such as [<<"+A">>, <<"4">>]`
	if n := s.value("extra_args"); n != nil {
		if t, ok := d.text(n); ok && printable(t) {
			s.fail("extra_args", form, "write a string for each word")
			return nil
		}
	}
	nodes := s.list("extra_args", form)
	if len(nodes) > maxArgs {
		s.fail("extra_args", "at most 64 strings", "")
		return nil
	}
	var args []string
	for i, n := range nodes {
		arg, ok := d.text(n)
		if !ok || len(arg) > maxArg || strings.ContainsAny(arg, "\x00\r\n") {
			d.fail(n, s.field("extra_args")+indexed(i), "a string of one line", "")
			return nil
		}
		args = append(args, arg)
	}
	for i, why := range refusedArgs(args) {
		d.fail(nodes[i], s.field("extra_args")+indexed(i), "a flag that leaves the guest's wiring alone", why)
	}
	return args
}

func indexed(i int) string { return "[" + strconv.Itoa(i) + "]" }

// refusedArgs returns the reason for every argument that would undo how a
// guest is started, by position. Flags are those of erl(1) and of Elixir.
func refusedArgs(args []string) map[int]string {
	why := map[int]string{}
	flag := ""
	for i, arg := range args {
		if strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "+") {
			flag = arg
		}
		if reason := refusedFlag(arg); reason != "" {
			why[i] = reason
		} else if flag == "-kernel" && i > 0 && args[i-1] != "" && distributionKey(arg) {
			why[i] = "the distribution of a guest is the sandbox's"
		}
	}
	return why
}

// refusedFlag returns why one flag is refused, "" when it is not.
func refusedFlag(arg string) string {
	flag := arg
	if strings.HasPrefix(flag, "--") {
		flag = flag[1:] // Elixir's spelling
	}
	for _, r := range flagRules() {
		if slices.Contains(r.flags, flag) {
			return r.why
		}
	}
	switch {
	case strings.HasPrefix(arg, "+S") && (len(arg) == 2 || !isLetter(arg[2])), strings.HasPrefix(arg, "+SP"):
		return "set scheduler_limit instead"
	case strings.HasPrefix(arg, "-ssl_dist_"), strings.HasPrefix(arg, "-inet_dist_"):
		return "the distribution of a guest is the sandbox's"
	}
	return ""
}

type flagRule struct {
	why   string
	flags []string
}

func flagRules() []flagRule {
	return []flagRule{
		{"every guest has a cookie of its own, from a file", []string{"-setcookie", "-nocookie", "-cookie"}},
		{"the node is named by name and node_prefix", []string{"-name", "-sname"}},
		{"the distribution of a guest is the sandbox's", []string{
			"-proto_dist", "-no_epmd", "-start_epmd", "-epmd_module", "-erl_epmd_port", "-dist_listen",
			"-hidden", "-connect_all", "-remsh", "-id", "-rsh", "-master", "-pipe-to", "-rpc-eval"}},
		{"what a guest boots is its release, configured by env", []string{
			"-config", "-configfd", "-boot", "-boot_var", "-args_file", "-vm-args", "-erl-config",
			"-loader", "-hosts", "-root", "-bindir", "-progname", "-home", "-emu", "-emu_type", "-emu_flavor"}},
		{"variables of the emulator are the sandbox's, use env of the app", []string{"-env"}},
		{"the sandbox watches and restarts the guest", []string{"-heart", "-detached", "-daemon"}},
	}
}

// distributionKey names the parameters of kernel(6) that the guest's links
// hang on.
func distributionKey(key string) bool {
	return strings.HasPrefix(key, "inet_dist_") || strings.HasPrefix(key, "dist_") || strings.HasPrefix(key, "net_") ||
		slices.Contains([]string{"erl_epmd_node_listen_port", "epmd_module", "connect_all", "prevent_overlapping_partitions", "start_distribution"}, key)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
