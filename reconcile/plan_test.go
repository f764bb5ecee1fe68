package reconcile_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
)

func spec(name app.Name, version string, change ...func(*app.Spec)) app.Spec {
	s := app.Spec{Name: name, Version: version, Isolation: app.VM, Dir: string(name),
		Source: app.Source{Type: app.SourceGit, URL: "https://git.example/" + string(name)}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func dependsOn(names ...app.Name) func(*app.Spec) {
	return func(s *app.Spec) { s.DependsOn = names }
}

func inHost(s *app.Spec) { s.Isolation = app.Embedded }

func limited(s *app.Spec) { s.VM.MemoryLimit = 64 }

func env(key string, value int) func(*app.Spec) {
	return func(s *app.Spec) { s.Env = map[string]term.Term{key: term.Int(value)} }
}

// wish makes a set of specs.
func wish(specs ...app.Spec) app.Set {
	set := app.Set{Specs: map[app.Name]app.Spec{}, Broken: map[string]*app.LoadError{}}
	for _, s := range specs {
		set.Specs[s.Name] = s
	}
	return set
}

// running is what there is after specs were deployed.
func running(specs ...app.Spec) map[app.Name]reconcile.Have {
	have := map[app.Name]reconcile.Have{}
	for _, s := range specs {
		have[s.Name] = reconcile.Have{Digest: s.Digest(), RunDigest: s.RunDigest(), Version: s.Version,
			Isolation: s.Isolation, Dir: s.Dir, DependsOn: s.DependsOn}
	}
	return have
}

func TestPlan(t *testing.T) {
	broken := wish()
	broken.Broken["pulse"] = &app.LoadError{Dir: "pulse", Name: "pulse", Err: errors.New("bad")}
	moved := wish()
	moved.Broken["folder"] = &app.LoadError{Dir: "folder", Name: "folder", Err: errors.New("bad")}
	nameless := wish()
	nameless.Broken["Bad-Folder"] = &app.LoadError{Dir: "Bad-Folder", Err: errors.New("bad")}
	inFolder := running(spec("pulse", "1"))
	inFolder["pulse"] = func(h reconcile.Have) reconcile.Have { h.Dir = "folder"; return h }(inFolder["pulse"])
	for _, tc := range []struct {
		name string
		want app.Set
		have map[app.Name]reconcile.Have
		plan []string
	}{
		{"nothing", wish(), nil, nil},
		{"deploy in order", wish(spec("a", "1", dependsOn("b")), spec("b", "1")), nil, []string{"deploy b", "deploy a"}},
		{"keep", wish(spec("a", "1")), running(spec("a", "1")), []string{"keep a"}},
		{"version", wish(spec("a", "2")), running(spec("a", "1")), []string{"upgrade a"}},
		{"limits", wish(spec("a", "1", limited)), running(spec("a", "1")), []string{"upgrade a"}},
		{"env", wish(spec("a", "1", env("k", 2))), running(spec("a", "1", env("k", 1))), []string{"reconfigure a"}},
		{"env and version", wish(spec("a", "2", env("k", 2))), running(spec("a", "1", env("k", 1))), []string{"upgrade a"}},
		{"declared port", wish(spec("a", "1", env("http_port", 81))), running(spec("a", "1", env("http_port", 80))), []string{"upgrade a"}},
		{"move out", wish(spec("a", "1")), running(spec("a", "1", inHost)), []string{"move a"}},
		{"move in", wish(spec("a", "1", inHost)), running(spec("a", "1")), []string{"move a"}},
		{"remove dependants first", wish(), running(spec("a", "1"), spec("b", "1", dependsOn("a")), spec("c", "1", dependsOn("b"))),
			[]string{"remove c", "remove b", "remove a"}},
		{"removals come before deployments", wish(spec("b", "1")), running(spec("a", "1")), []string{"remove a", "deploy b"}},
		{"leftovers of a crash", wish(spec("a", "1")), map[app.Name]reconcile.Have{"a": {Isolation: app.VM}}, []string{"deploy a"}},
		{"broken runs on", broken, running(spec("pulse", "1")), []string{"keep pulse!"}},
		{"broken in a folder of another name", moved, inFolder, []string{"keep pulse!"}},
		{"broken folder that is no name", nameless, nil, []string{"keep Bad-Folder!"}},
		{"broken never ran", broken, nil, []string{"keep pulse!"}},
		{"cycle", wish(spec("a", "1", dependsOn("b")), spec("b", "1", dependsOn("a")), spec("c", "1")), nil,
			[]string{"deploy c", "keep a!", "keep b!"}},
		{"unknown dependency", wish(spec("a", "2", dependsOn("nobody"))), running(spec("a", "1")), []string{"keep a!"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, s := range reconcile.Plan(tc.want, tc.have) {
				line := string(s.Action) + " " + string(s.Name)
				if s.Err != nil {
					line += "!"
				}
				if s.Why == "" {
					t.Errorf("%s says no why", line)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.plan, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanIsTheSameEveryTime(t *testing.T) {
	want := wish(spec("a", "1"), spec("b", "1"), spec("c", "1", dependsOn("a")))
	have := running(spec("x", "1"), spec("y", "1"), spec("z", "1", dependsOn("y")))
	first := reconcile.Plan(want, have)
	for range 20 {
		again := reconcile.Plan(want, have)
		if !slices.EqualFunc(first, again, func(a, b reconcile.Step) bool { return a.Status() == b.Status() }) {
			t.Fatalf("%v and then %v", first, again)
		}
	}
}
