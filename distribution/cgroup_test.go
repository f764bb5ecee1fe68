package distribution

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes files below a new folder.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGatewayIsHeldInAGroup(t *testing.T) {
	one, err := newGroup(tree(t, "memory/cgroup.procs"), "/run/x")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(one.dir)
	for version, tc := range map[string]struct {
		files []string
		want  map[string]string
	}{
		"v1": {
			[]string{"memory/cgroup.procs", "unified/cgroup.controllers", "memory/" + name + "/memory.limit_in_bytes", "memory/" + name + "/cgroup.procs"},
			map[string]string{"memory/" + name + "/memory.limit_in_bytes": "805306368", "memory/" + name + "/cgroup.procs": "77"},
		},
		"v2": {
			[]string{"cgroup.controllers", "cgroup.subtree_control", name + "/memory.max", name + "/cgroup.procs"},
			map[string]string{"cgroup.subtree_control": "+memory", name + "/memory.max": "805306368", name + "/cgroup.procs": "77"},
		},
	} {
		t.Run(version, func(t *testing.T) {
			root := tree(t, tc.files...)
			g, err := newGroup(root, "/run/x")
			if err != nil {
				t.Fatal(err)
			}
			if err := g.hold(77); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for file := range tc.want {
				text, err := os.ReadFile(filepath.Join(root, file))
				if err != nil {
					t.Fatal(err)
				}
				got[file] = string(text)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestGroupsThatAreNotThere(t *testing.T) {
	if _, err := newGroup(t.TempDir(), "/run/x"); err == nil || !strings.Contains(err.Error(), "neither version") {
		t.Errorf("no control groups: %v", err)
	}
	g, err := newGroup(tree(t, "memory/cgroup.procs"), "/run/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.hold(77); err == nil || !strings.Contains(err.Error(), "memory.limit_in_bytes") {
		t.Errorf("no controller: %v", err)
	}
	if err := (group{}).remove(); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}
