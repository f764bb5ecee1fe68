package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
)

func TestNode(t *testing.T) {
	empty, own := "", "guest_"
	tests := []struct {
		prefix *string
		want   string
	}{{nil, "bc_pulse@myhost"}, {&empty, "pulse@myhost"}, {&own, "guest_pulse@myhost"}}
	for _, tt := range tests {
		s := Spec{Name: "pulse", VM: VMConfig{NodePrefix: tt.prefix}}
		if got := s.Node("myhost", "bc_"); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestPorts(t *testing.T) {
	tests := []struct {
		name   string
		env    term.Term
		health *Health
		want   []uint16
	}{
		{"none", nil, nil, nil},
		{"one", term.Int(80), nil, []uint16{80}},
		{"the same", term.Int(80), &Health{Port: 80}, []uint16{80}},
		{"two", term.Int(8080), &Health{Port: 80}, []uint16{80, 8080}},
		{"no port", term.Binary("80"), &Health{}, nil},
	}
	for _, tt := range tests {
		s := Spec{Env: map[string]term.Term{"http_port": tt.env}, Health: tt.health}
		if diff := cmp.Diff(tt.want, s.Ports()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestSecretShowsNothing(t *testing.T) {
	s := NewSecret("hunter2hunter2")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "cookie", s)
	j, err := json.Marshal(map[string]any{"cookie": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q", s, s, s, s), log.String(), string(j)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("shown: %s", out)
		}
	}
	if s.Reveal() != "hunter2hunter2" || s.Empty() || !NewSecret("").Empty() {
		t.Error("the secret is lost")
	}
}
