package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Warnings says what the rules allow that no rule should, one sentence each, by
// app: whoever loads a policy shows them.
func (r Rules) Warnings() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Messages)) {
		for _, a := range r.Messages[name].Allow {
			if why := handsOver(a.To); why != "" {
				all = append(all, fmt.Sprintf("app %s is allowed %s to %s, and none should be: %s", name, a.Kind, a.To, why))
			}
		}
	}
	return all
}

// handsOver says why nobody should be allowed to send to a name, "" where
// nothing is known against it: each of these processes runs what it is sent, or
// hands the node over in another way. Supervisors have names of their own, but
// for how they are usually called.
func handsOver(to string) string {
	switch to {
	case "rex", "net_kernel", "init", "code_server", "erl_prim_loader", "file_server_2", "auth", "application_controller",
		"user", "user_drv", "erl_signal_server", "logger", "logger_proxy", "standard_error", "timer_server", "release_handler",
		"erts_code_purger", "kernel_refc", "global_group", "inet_db", "pg", "Elixir.Phoenix.PubSub":
		return "who may send to it has the host VM"
	}
	if strings.HasSuffix(to, "_sup") || strings.HasSuffix(to, "Supervisor") || to == "erl_distribution" {
		return "by its name it is a supervisor, and who may send to one has the host VM"
	}
	return ""
}
