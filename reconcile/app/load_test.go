package app

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestLoadSeed(t *testing.T) {
	set, err := Load(os.DirFS("testdata/seed"), "apps", LoadOptions{Hostname: "myhost", HostNode: "demo_web@myhost"})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range set.Broken {
		t.Error(b)
	}
	order, blocked := set.Order()
	if diff := cmp.Diff([]Name{"demo_counter", "demo_uptime", "my_service"}, order); diff != "" || len(blocked) > 0 {
		t.Errorf("order (-want +got):\n%s%v", diff, blocked)
	}
	counter, uptime := set.Specs["demo_counter"], set.Specs["demo_uptime"]
	if counter.Isolation != Embedded || counter.Source.Ref != "v0.1.5" || counter.Dir != "demo_counter" {
		t.Errorf("counter: %+v", counter)
	}
	if uptime.Isolation != VM || uptime.VM.MemoryLimit != 512 || uptime.Source != (Source{Type: SourceHex, Ref: "0.3.0"}) {
		t.Errorf("uptime: %+v", uptime)
	}
}

// minimal is a guest with a few keys more.
func minimal(name, more string) *fstest.MapFile {
	return file("#{name => " + name + ", version => <<\"1\">>, isolation => vm" + more + "}.")
}

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func TestLoad(t *testing.T) {
	const sameName = "expected an app of its own, found "
	tests := []struct {
		name   string
		tree   fstest.MapFS
		opts   LoadOptions
		want   []Name
		broken map[string]string
	}{
		{"one good, one bad", fstest.MapFS{
			"apps/good/app.config":  minimal("good", ""),
			"apps/bad/app.config":   file("#{name => bad,\n  version => 1}."),
			"apps/worse/app.config": file("#{name => worse,\n"),
		}, LoadOptions{}, []Name{"good"}, map[string]string{
			"bad":   `apps/bad/app.config:2:14: version: expected a version such as <<"1.0.0">>, found 1; put it in quotes`,
			"worse": "apps/worse/app.config:2:1: ",
		}},
		{"nothing there is an app", fstest.MapFS{
			"apps/README.md": file("hello"), "apps/empty/notes.txt": file(""), "apps/.git/app.config": file("x"),
			"apps/odd/config/app.config": file("x"),
		}, LoadOptions{}, nil, nil},
		{"the first file name counts", fstest.MapFS{
			"apps/a/app.config": minimal("first", ""), "apps/a/app.yaml": file("no"), "apps/a/config": file("no"),
			"apps/b/config.json": file(`{"name": "second", "version": "1"}`), "apps/b/config": file("no"),
			"apps/c/config":  minimal("third", ""),
			"apps/d/app.yml": file("name: fourth\nversion: '1'\n"), "apps/d/app.json": file("no"),
		}, LoadOptions{}, []Name{"first", "fourth", "second", "third"}, nil},
		{"two of one name", fstest.MapFS{
			"apps/a/app.config": minimal("twin", ""), "apps/b/app.config": minimal("twin", ""), "apps/c/app.config": minimal("c", ""),
		}, LoadOptions{}, []Name{"c"}, map[string]string{
			"a": "apps/a/app.config:1:11: name: " + sameName + "twin, which apps/b/app.config:1:11 has too; give each folder another name",
			"b": "apps/b/app.config:1:11: name: " + sameName + "twin, which apps/a/app.config:1:11 has too; give each folder another name",
		}},
		{"two of one node name", fstest.MapFS{
			"apps/a/app.config": minimal("x_a", ""), "apps/b/app.config": minimal("a", `, vm_config => [{node_prefix, "x_"}]`),
		}, LoadOptions{}, nil, map[string]string{
			"a": "apps/a/app.config:1:11: name: expected a node name of its own",
			"b": "apps/b/app.config:1:11: name: expected a node name of its own",
		}},
		{"two of one port", fstest.MapFS{
			"apps/a/app.config": minimal("a", `, env => #{http_port => 80}`), "apps/b/app.config": minimal("b", `, health => #{type => tcp, port => 80}`),
		}, LoadOptions{}, nil, map[string]string{
			"a": "apps/a/app.config:1:73: env.http_port: expected a port of its own, found 80, which apps/b/app.config:1:",
			"b": "health.port: expected a port of its own, found 80, which apps/a/app.config:1:73 has too; give one another port",
		}},
		{"embedded apps share a port", fstest.MapFS{
			"apps/a/app.config": file(`[{name, a}, {version, "1"}, {health, [{port, 80}]}].`), "apps/b/app.config": file(`[{name, b}, {version, "1"}, {health, [{port, 80}]}].`),
		}, LoadOptions{}, []Name{"a", "b"}, nil},
		{"named like the host", fstest.MapFS{"apps/a/app.config": minimal("web", "")},
			LoadOptions{Hostname: "h", HostNode: "demo_web@h", NodePrefix: "demo_"}, nil,
			map[string]string{"a": "found demo_web@h, which is the host VM; set vm_config.node_prefix"}},
		{"a local folder", fstest.MapFS{"apps/a/app.config": minimal("a", `, source => #{type => path, path => "/tmp/a"}`)},
			LoadOptions{}, nil, map[string]string{"a": "source.type: expected one of hex, git, release, mesh, image, found path; only sandboxctl run may use it"}},
		{"a local folder, allowed", fstest.MapFS{"apps/a/app.config": minimal("a", `, source => #{type => path, path => "/tmp/a"}`)},
			LoadOptions{AllowPath: true}, []Name{"a"}, nil},
		{"a name that breaks a line", fstest.MapFS{"apps/a\nb/app.config": file("x")}, LoadOptions{}, nil,
			map[string]string{"a\nb": `"apps/a\nb/app.config":1:2: `}},
		{"links and large files", fstest.MapFS{
			"apps/link":         {Mode: fs.ModeSymlink, Data: []byte("other")},
			"apps/b/app.config": {Mode: fs.ModeSymlink, Data: []byte("/etc/passwd")},
			"apps/c/app.config": file(strings.Repeat("%", maxFile+1)),
		}, LoadOptions{}, nil, map[string]string{
			"link": "load apps/link: symbolic links are not followed: make it a folder",
			"b":    "read apps/b/app.config: only regular files are read",
			"c":    "read apps/c/app.config: larger than 1 MiB",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := Load(tt.tree, "apps", tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(set.Specs))); diff != "" {
				t.Errorf("specs (-want +got):\n%s", diff)
			}
			for dir, b := range set.Broken {
				if want, ok := tt.broken[dir]; !ok || !strings.Contains(b.Error(), want) {
					t.Errorf("broken %s:\n got %s\nwant %s", dir, b, want)
				}
			}
			if len(set.Broken) != len(tt.broken) {
				t.Errorf("%d broken, want %d", len(set.Broken), len(tt.broken))
			}
		})
	}
}

func TestLoadErrorNamesTheApp(t *testing.T) {
	set, err := Load(fstest.MapFS{
		"named/app.config":   file("#{name => other, version => 1}."),
		"unnamed/app.config": file("#{"),
		"No-Name/app.config": file("#{"),
	}, ".", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Name{}
	for dir, b := range set.Broken {
		got[dir] = b.Name
	}
	if diff := cmp.Diff(map[string]Name{"named": "other", "unnamed": "unnamed", "No-Name": ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadWithoutFolder(t *testing.T) {
	_, err := Load(fstest.MapFS{}, "apps", LoadOptions{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "read apps folder apps: ") {
		t.Errorf("got %v", err)
	}
}

func TestLoadApp(t *testing.T) {
	tree := fstest.MapFS{"a/app.config": minimal("a", ""), "b/x": file(""), "c/app.config": file("{}.")}
	spec, err := LoadApp(tree, "a", LoadOptions{})
	if err != nil || spec.Name != "a" || spec.Dir != "a" {
		t.Errorf("got %+v, %v", spec, err)
	}
	if _, err := LoadApp(tree, "b", LoadOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no configuration: %v", err)
	}
	var field *FieldError
	if _, err := LoadApp(tree, "c", LoadOptions{}); !errors.As(err, &field) {
		t.Errorf("broken: %v", err)
	}
}
