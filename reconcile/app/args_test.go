package app

import (
	"strings"
	"testing"
)

func TestRefusedArgs(t *testing.T) {
	tests := []struct {
		args string
		want map[int]string // position → part of the reason
	}{
		{"+A 4 +SDio 2 +SDcpu 2 +stbt db -pa /x -s my_app -eval ok", nil},
		{"-setcookie x", map[int]string{0: "cookie"}},
		{"--cookie x", map[int]string{0: "cookie"}},
		{"-name a@b -sname c", map[int]string{0: "node_prefix", 2: "node_prefix"}},
		{"-proto_dist inet_tls -ssl_dist_optfile f", map[int]string{0: "distribution", 2: "distribution"}},
		{"-start_epmd true -erl_epmd_port 1 -hidden -remsh x", map[int]string{0: "distribution", 2: "distribution", 4: "distribution", 5: "distribution"}},
		{"-args_file f -config g -boot h", map[int]string{0: "release", 2: "release", 4: "release"}},
		{"-kernel inet_dist_listen_min 1 inet_dist_listen_max 2", map[int]string{1: "distribution", 3: "distribution"}},
		{"-kernel shell_history enabled logger_level debug", nil},
		{"-myapp inet_dist_listen_min 1", nil},
		{"+S 8:8", map[int]string{0: "scheduler_limit"}},
		{"+S8:8 +SP 50:50", map[int]string{0: "scheduler_limit", 1: "scheduler_limit"}},
		{"-heart -detached -env ERL_FLAGS x", map[int]string{0: "restarts", 1: "restarts", 2: "variables"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := refusedArgs(strings.Fields(tt.args))
			if len(got) != len(tt.want) {
				t.Errorf("refused %v, want %v", got, tt.want)
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("argument %d: %q, want one about %q", i, got[i], part)
				}
			}
		})
	}
}
