package app

import (
	"math/big"
	"testing"

	"beamsandbox/distribution/term"
)

func full() Spec {
	prefix := "guest_"
	return Spec{
		Name: "pulse", Version: "1.0.0", Description: "beats", Isolation: VM, Dir: "pulse",
		Source:    Source{Type: SourceGit, URL: "https://example.org/pulse.git", Ref: "v1"},
		VM:        VMConfig{MemoryLimit: 64, SchedulerLimit: 1, NodePrefix: &prefix, ExtraArgs: []string{"+A", "4"}},
		Env:       map[string]term.Term{"http_port": term.Int(8080), "rate": term.Float(1.5)},
		Health:    &Health{Type: HealthHTTP, Port: 8080, Path: "/health"},
		DependsOn: []Name{"counter"},
	}
}

// TestDigests says for every field which digests a change of it moves.
func TestDigests(t *testing.T) {
	tests := []struct {
		name                  string
		change                func(*Spec)
		digest, run, env, bld bool
	}{
		{"nothing", func(s *Spec) {}, false, false, false, false},
		{"name", func(s *Spec) { s.Name = "other" }, true, true, false, true},
		{"version", func(s *Spec) { s.Version = "1.0.1" }, true, true, false, true},
		{"ref", func(s *Spec) { s.Source.Ref = "v2" }, true, true, false, true},
		{"isolation", func(s *Spec) { s.Isolation = Embedded }, true, true, false, false},
		{"memory", func(s *Spec) { s.VM.MemoryLimit = 128 }, true, true, false, false},
		{"no prefix", func(s *Spec) { s.VM.NodePrefix = nil }, true, true, false, false},
		{"args", func(s *Spec) { s.VM.ExtraArgs = []string{"+A4"} }, true, true, false, false},
		{"env", func(s *Spec) { s.Env["rate"] = term.Float(2) }, true, false, true, false},
		{"env key", func(s *Spec) { s.Env["more"] = term.Atom("true") }, true, false, true, false},
		{"env port", func(s *Spec) { s.Env["http_port"] = term.Int(8081) }, true, true, true, false},
		{"health port", func(s *Spec) { s.Health.Port = 8081 }, true, true, false, false},
		{"health path", func(s *Spec) { s.Health.Path = "/up" }, false, false, false, false},
		{"description, folder, dependencies", func(s *Spec) { s.Description, s.Dir, s.DependsOn = "", "x", nil }, false, false, false, false},
	}
	base := full()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := full()
			tt.change(&s)
			for _, d := range []struct {
				name    string
				a, b    string
				changed bool
			}{
				{"Digest", base.Digest(), s.Digest(), tt.digest},
				{"RunDigest", base.RunDigest(), s.RunDigest(), tt.run},
				{"EnvDigest", base.EnvDigest(), s.EnvDigest(), tt.env},
				{"BuildDigest", base.BuildDigest(), s.BuildDigest(), tt.bld},
			} {
				if len(d.b) != 64 {
					t.Errorf("%s is %q", d.name, d.b)
				}
				if (d.a != d.b) != d.changed {
					t.Errorf("%s changed: %v, want %v", d.name, d.a != d.b, d.changed)
				}
			}
		})
	}
}

// TestDigestStays pins one digest: guests that run carry it as a label, so it
// must outlive an upgrade of the daemon.
func TestDigestStays(t *testing.T) {
	const want = "29df5488317862466e2b91c66fbd2ff6866a5ed528282c4306088776d8dee58d"
	if got := full().Digest(); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestCanonical(t *testing.T) {
	same := [][2]term.Term{
		{term.Map{{Key: term.Atom("a"), Value: term.Int(1)}, {Key: term.Atom("b"), Value: term.Int(2)}},
			term.Map{{Key: term.Atom("b"), Value: term.Int(2)}, {Key: term.Atom("a"), Value: term.Int(1)}}},
		{term.List{Elems: []term.Term{term.Int(1), term.Int(2)}},
			term.List{Elems: []term.Term{term.Int(1)}, Tail: term.List{Elems: []term.Term{term.Int(2)}}}},
	}
	for _, p := range same {
		if string(canonical(nil, p[0])) != string(canonical(nil, p[1])) {
			t.Errorf("%v and %v differ", p[0], p[1])
		}
	}
	different := []term.Term{
		term.Int(1), term.Float(1), term.Atom("1"), term.Binary("1"), term.String("1"),
		term.Tuple{}, term.List{}, term.Map{}, term.Binary{}, term.Tuple{term.Tuple{}},
		term.Tuple{term.Binary("ab"), term.Binary("c")}, term.Tuple{term.Binary("a"), term.Binary("bc")},
		term.List{Elems: []term.Term{term.Int(1)}, Tail: term.Int(2)}, term.List{Elems: []term.Term{term.Int(1), term.Int(2)}},
		new(big.Int).Lsh(big.NewInt(1), 70), term.BitString{Bytes: []byte{0x80}, Bits: 1}, term.BitString{Bytes: []byte{0x80}, Bits: 2},
	}
	seen := map[string]term.Term{}
	for _, v := range different {
		key := string(canonical(nil, v))
		if other, ok := seen[key]; ok {
			t.Errorf("%#v and %#v are the same", v, other)
		}
		seen[key] = v
	}
}
