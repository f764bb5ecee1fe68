package app

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func specs(deps map[Name][]Name) Set {
	s := Set{Specs: map[Name]Spec{}, Broken: map[string]*LoadError{}}
	for n, d := range deps {
		s.Specs[n] = Spec{Name: n, DependsOn: d}
	}
	return s
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name    string
		deps    map[Name][]Name
		broken  Name
		want    []Name
		blocked map[Name]string
	}{
		{name: "nothing"},
		{name: "by name", deps: map[Name][]Name{"c": nil, "a": nil, "b": nil}, want: []Name{"a", "b", "c"}},
		{name: "dependencies first", deps: map[Name][]Name{"a": {"c"}, "b": nil, "c": {"b"}}, want: []Name{"b", "c", "a"}},
		{name: "a diamond", deps: map[Name][]Name{"top": {"l", "r"}, "l": {"base"}, "r": {"base"}, "base": nil}, want: []Name{"base", "l", "r", "top"}},
		{
			name: "a cycle blocks itself and what needs it", deps: map[Name][]Name{"a": {"b"}, "b": {"a"}, "c": {"b"}, "d": {"c"}, "e": nil},
			want: []Name{"e"},
			blocked: map[Name]string{
				"a": "depends_on makes a cycle: a -> b -> a",
				"b": "depends_on makes a cycle: b -> a -> b",
				"c": "c depends on b, which is blocked itself",
				"d": "d depends on c, which is blocked itself",
			},
		},
		{name: "itself", deps: map[Name][]Name{"a": {"a"}}, blocked: map[Name]string{"a": "depends_on makes a cycle: a -> a"}},
		{
			name: "the shortest cycle", deps: map[Name][]Name{"a": {"b"}, "b": {"c", "a"}, "c": {"a"}},
			blocked: map[Name]string{
				"a": "depends_on makes a cycle: a -> b -> a",
				"b": "depends_on makes a cycle: b -> a -> b",
				"c": "depends_on makes a cycle: c -> a -> b -> c",
			},
		},
		{name: "missing", deps: map[Name][]Name{"a": {"x"}, "b": nil}, want: []Name{"b"},
			blocked: map[Name]string{"a": "a depends on x, which is in no app.config"}},
		{name: "broken", deps: map[Name][]Name{"a": {"x"}, "b": nil}, broken: "x", want: []Name{"b"},
			blocked: map[Name]string{"a": "a depends on x, which is broken"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := specs(tt.deps)
			if tt.broken != "" {
				set.Broken["dir"] = &LoadError{Dir: "dir", Name: tt.broken, Err: Errors{}}
			}
			order, blocked := set.Order()
			if diff := cmp.Diff(tt.want, order); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
			got := map[Name]string{}
			for n, err := range blocked {
				got[n] = err.Error()
			}
			if tt.blocked == nil {
				tt.blocked = map[Name]string{}
			}
			if diff := cmp.Diff(tt.blocked, got); diff != "" {
				t.Errorf("blocked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrderOfAThousand(t *testing.T) {
	deps := map[Name][]Name{}
	for i := range 1000 {
		n := Name(fmt.Sprintf("app_%03d", i))
		deps[n] = nil
		for j := max(0, i-3); j < i; j++ {
			deps[n] = append(deps[n], Name(fmt.Sprintf("app_%03d", j)))
		}
	}
	order, blocked := specs(deps).Order()
	if len(order) != 1000 || len(blocked) != 0 {
		t.Fatalf("%d in order, %d blocked", len(order), len(blocked))
	}
}
