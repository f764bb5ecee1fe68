package netns

import (
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/app"
)

func TestNames(t *testing.T) {
	normal := &Host{tag: tagOf(filepath.Join(DefaultRunDir, "netns"))}
	other := &Host{tag: tagOf("/tmp/other/netns")}
	long := app.Name("a" + strings.Repeat("b", 63))
	links := make(map[string]bool)
	for _, h := range []*Host{normal, other} {
		for _, name := range []app.Name{"pulse", "pulse2", "Builder-1", long} {
			l := h.link(name)
			if len(l) > 15 || links[l] {
				t.Errorf("link %q of %s is too long or not unique", l, name)
			}
			links[l] = true
			if got, ok := h.aliased(h.alias(name)); !ok || got != name {
				t.Errorf("alias %q reads back as %q, %t", h.alias(name), got, ok)
			}
			if got, ok := h.tabled(h.table(name)); !ok || got != name {
				t.Errorf("table %q reads back as %q, %t", h.table(name), got, ok)
			}
			if !ours(h.alias(name)) {
				t.Errorf("alias %q is not ours", h.alias(name))
			}
		}
	}
	if got := normal.table("pulse"); got != "beamsandbox_pulse" {
		t.Errorf("table %q, want the name that the manual promises", got)
	}
}

func TestForeignNames(t *testing.T) {
	normal := &Host{tag: tagOf(filepath.Join(DefaultRunDir, "netns"))}
	other := &Host{tag: tagOf("/tmp/other/netns")}
	for _, table := range []string{"filter", "beamsandbox", "beamsandbox_", other.table("pulse")} {
		if name, ok := normal.tabled(table); ok {
			t.Errorf("table %q taken for %s's", table, name)
		}
	}
	if name, ok := other.tabled(normal.table("pulse")); ok {
		t.Errorf("table of the default run directory taken for %s's", name)
	}
	for _, alias := range []string{"", "uplink", "beamsandbox pulse", "beamsandbox ../x " + normal.tag, other.alias("pulse")} {
		if name, ok := normal.aliased(alias); ok {
			t.Errorf("alias %q taken for %s's", alias, name)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[app.Name]bool{
		"pulse": true, "a": true, "Builder-1": true, "my_app2": true,
		"": false, ".lock": false, "../x": false, "a/b": false, "1a": false, "a.b": false, "a b": false,
		app.Name(strings.Repeat("a", 65)): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}
