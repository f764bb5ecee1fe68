package netns

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/policy"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

var testPair = pair{netip.MustParseAddr("10.231.0.6"), netip.MustParseAddr("10.231.0.7")}

func TestRules(t *testing.T) {
	flows := []policy.Flow{
		{Port: 4369, Purpose: "epmd"},
		{Port: 8080, Purpose: "health"},
		{Port: 8080, Purpose: "http_port", Publish: true},
		{Port: 9100, Purpose: "distribution"},
	}
	tests := []struct {
		file string
		got  table
	}{
		{"host.nft", hostRules("beamsandbox_pulse", "bsabcdefghijklm", testPair, flows)},
		{"guest.nft", guestRules(testPair, flows)},
		{"guest-no-flows.nft", guestRules(testPair, nil)},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			path := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(path, []byte(test.got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), test.got.String()); diff != "" {
				t.Errorf("rules (-want +got), -update accepts them:\n%s", diff)
			}
		})
	}
}

// TestRulesCount holds what the operator relies on: nothing is dropped or
// rejected without a counter, every counter named is a counter made, and
// every counter made is used.
func TestRulesCount(t *testing.T) {
	for _, tab := range []table{hostRules("beamsandbox_a", "bsx", testPair, nil), guestRules(testPair, nil)} {
		used := make(map[string]bool)
		for _, c := range tab.chains {
			for _, r := range c.rules {
				text := r.String()
				_, after, counted := strings.Cut(text, `counter name "`)
				if name, _, _ := strings.Cut(after, `"`); counted {
					used[name] = true
				}
				if drops := strings.HasSuffix(text, " drop") || strings.Contains(text, " reject"); drops != counted {
					t.Errorf("table %s, chain %s: rule %q: drops %t, counts %t", tab.nft.Name, c.name, text, drops, counted)
				}
			}
		}
		for _, name := range tab.counters {
			if !used[name] {
				t.Errorf("table %s: counter %s counts nothing", tab.nft.Name, name)
			}
			delete(used, name)
		}
		if len(used) > 0 {
			t.Errorf("table %s: counters used but not made: %v", tab.nft.Name, used)
		}
	}
}

// TestPrintTellsTablesApart guards the comparison that decides whether a
// table is rewritten.
func TestPrintTellsTablesApart(t *testing.T) {
	print := func(tab table) string {
		p, err := printOf(tab)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := hostRules("beamsandbox_a", "bsx", testPair, nil)
	if print(base) != print(hostRules("beamsandbox_a", "bsx", testPair, []policy.Flow{{Port: 1}})) {
		t.Error("declared ports change the print: they are compared on their own")
	}
	other, _ := pairAround(netip.MustParseAddr("10.231.0.8"))
	shorter := hostRules("beamsandbox_a", "bsx", testPair, nil)
	shorter.chains[0].rules = shorter.chains[0].rules[1:]
	for name, changed := range map[string]table{
		"addresses": hostRules("beamsandbox_a", "bsx", other, nil),
		"rule":      shorter,
		"side":      guestRules(testPair, nil),
	} {
		if print(base) == print(changed) {
			t.Errorf("another %s has the same print", name)
		}
	}
}

func TestCanonical(t *testing.T) {
	epmd, dist := policy.Flow{Port: 4369, Purpose: "epmd"}, policy.Flow{Port: 9100, Purpose: "distribution"}
	web := policy.Flow{Port: 8080, Purpose: "http_port", Publish: true}
	health := policy.Flow{Port: 8080, Purpose: "health"}
	tests := []struct {
		name    string
		in      []policy.Flow
		want    []policy.Flow
		wantErr string
	}{
		{name: "none"},
		{name: "sorted", in: []policy.Flow{dist, web, epmd, health}, want: []policy.Flow{epmd, health, web, dist}},
		{name: "repeated", in: []policy.Flow{dist, dist}, want: []policy.Flow{dist}},
		{name: "port 0", in: []policy.Flow{{Purpose: "health"}}, wantErr: "port 0"},
		{name: "comma", in: []policy.Flow{{Port: 1, Purpose: "a,b"}}, wantErr: "comma"},
		{name: "long", in: []policy.Flow{{Port: 1, Purpose: strings.Repeat("x", 121)}}, wantErr: "longer than 120"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := canonical(test.in)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want one about %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("flows (-want +got):\n%s", diff)
			}
			var back []policy.Flow
			for _, e := range elements(got) {
				back = append(back, e.flows()...)
			}
			if diff := cmp.Diff(got, back); diff != "" {
				t.Errorf("read back from a set (-want +got):\n%s", diff)
			}
		})
	}
}
