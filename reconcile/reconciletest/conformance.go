package reconciletest

import (
	"context"
	"reflect"
	"sync"
	"testing"

	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
)

// Subject is a room under test and what TestRoom needs to know of its types.
type Subject[C, S any] struct {
	Room   reconcile.Room[C, S]
	Config func(name app.Name) C // the same for the same name every time
	Name   func(S) app.Name
	// Equal compares two states of one thing that did not change; nil: all
	// fields are equal.
	Equal func(a, b S) bool
	// Serial leaves out Ensures of one name at the same time, for a room that
	// only ever has one caller for each name, as the reconciler is.
	Serial bool
	// Alone says that List shows nothing but what the test made.
	Alone bool
}

// TestRoom checks what every room promises: Ensure makes it so and changes
// nothing the second time, also when many ask at once; Remove undoes it and
// succeeds when there is nothing; List shows what there is.
func TestRoom[C, S any](t *testing.T, s Subject[C, S]) {
	t.Helper()
	if s.Equal == nil {
		s.Equal = func(a, b S) bool { return reflect.DeepEqual(a, b) }
	}
	t.Run("remove nothing", s.removeNothing)
	t.Run("ensure twice", s.ensureTwice)
	t.Run("ensure after remove", s.ensureAfterRemove)
	t.Run("two things", s.twoThings)
	if !s.Serial {
		t.Run("concurrent ensures", s.concurrent)
	}
	t.Run("ended context", s.endedContext)
}

const subjectA, subjectB = app.Name("conform_a"), app.Name("conform_b")

func (s Subject[C, S]) ensure(t *testing.T, name app.Name) S {
	t.Helper()
	state, err := s.Room.Ensure(t.Context(), s.Config(name))
	if err != nil {
		t.Fatalf("ensure %s: %v", name, err)
	}
	if got := s.Name(state); got != name {
		t.Errorf("ensure %s returned the state of %s", name, got)
	}
	return state
}

func (s Subject[C, S]) remove(t *testing.T, name app.Name) {
	t.Helper()
	if err := s.Room.Remove(context.WithoutCancel(t.Context()), name); err != nil {
		t.Errorf("remove %s: %v", name, err)
	}
}

// listed returns how often each name is listed.
func (s Subject[C, S]) listed(t *testing.T) map[app.Name]int {
	t.Helper()
	states, err := s.Room.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	count := map[app.Name]int{}
	for _, st := range states {
		count[s.Name(st)]++
	}
	if extra := len(count) - count[subjectA] - count[subjectB]; s.Alone && extra > 0 {
		t.Errorf("list shows what nobody made: %v", count)
	}
	return count
}

func (s Subject[C, S]) removeNothing(t *testing.T) {
	s.remove(t, subjectA)
	s.remove(t, subjectA)
	if n := s.listed(t)[subjectA]; n != 0 {
		t.Errorf("%s is listed %d times", subjectA, n)
	}
}

func (s Subject[C, S]) ensureTwice(t *testing.T) {
	defer s.remove(t, subjectA)
	first := s.ensure(t, subjectA)
	second := s.ensure(t, subjectA)
	if !s.Equal(first, second) {
		t.Errorf("the second ensure changed something:\n%+v\n%+v", first, second)
	}
	if n := s.listed(t)[subjectA]; n != 1 {
		t.Errorf("%s is listed %d times, want once", subjectA, n)
	}
}

func (s Subject[C, S]) ensureAfterRemove(t *testing.T) {
	defer s.remove(t, subjectA)
	s.ensure(t, subjectA)
	s.remove(t, subjectA)
	if n := s.listed(t)[subjectA]; n != 0 {
		t.Errorf("%s is listed %d times after it was removed", subjectA, n)
	}
	s.ensure(t, subjectA)
	if n := s.listed(t)[subjectA]; n != 1 {
		t.Errorf("%s is listed %d times, want once", subjectA, n)
	}
}

func (s Subject[C, S]) twoThings(t *testing.T) {
	defer s.remove(t, subjectA)
	defer s.remove(t, subjectB)
	a := s.ensure(t, subjectA)
	s.ensure(t, subjectB)
	if again := s.ensure(t, subjectA); !s.Equal(a, again) {
		t.Errorf("making %s changed %s:\n%+v\n%+v", subjectB, subjectA, a, again)
	}
	s.remove(t, subjectB)
	if n := s.listed(t); n[subjectA] != 1 || n[subjectB] != 0 {
		t.Errorf("list shows %v, want %s alone", n, subjectA)
	}
}

func (s Subject[C, S]) concurrent(t *testing.T) {
	defer s.remove(t, subjectA)
	const many = 4
	states, errs := make([]S, many), make([]error, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { states[i], errs[i] = s.Room.Ensure(t.Context(), s.Config(subjectA)) })
	}
	all.Wait()
	for i := range many {
		if errs[i] != nil {
			t.Fatalf("ensure: %v", errs[i])
		}
		if !s.Equal(states[0], states[i]) {
			t.Errorf("two who asked at once got different things:\n%+v\n%+v", states[0], states[i])
		}
	}
	if n := s.listed(t)[subjectA]; n != 1 {
		t.Errorf("%s is listed %d times, want once", subjectA, n)
	}
}

func (s Subject[C, S]) endedContext(t *testing.T) {
	defer s.remove(t, subjectA)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// What was begun may be there or not; the next ensure completes it.
	if _, err := s.Room.Ensure(ctx, s.Config(subjectA)); err == nil {
		t.Logf("ensure was quicker than its context")
	}
	s.ensure(t, subjectA)
}
