// Package reconciletest has in-memory rooms and the tests every room must
// pass.
package reconciletest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"beamsandbox/reconcile/app"
)

// Room is one kind of thing kept in memory. The zero value of Hook does
// nothing.
type Room[C, S any] struct {
	Kind   string // "images", in the diary and in errors
	Name   func(C) app.Name
	Make   func(C) S          // what Ensure leaves behind
	Change func(old, new C) S // nil: Make(new)
	// Hook runs before "ensure" and "remove"; its error is theirs.
	Hook  func(ctx context.Context, verb string, name app.Name) error
	Diary *Diary

	mu    sync.Mutex
	items map[app.Name]item[C, S]
}

type item[C, S any] struct {
	config C
	state  S
}

// Ensure keeps what c asks for.
func (r *Room[C, S]) Ensure(ctx context.Context, c C) (S, error) {
	s, _, err := r.ensure(ctx, c)
	return s, err
}

// ensure also reports whether anything changed.
func (r *Room[C, S]) ensure(ctx context.Context, c C) (S, bool, error) {
	name := r.Name(c)
	if err := r.before(ctx, "ensure", name); err != nil {
		var none S
		return none, false, fmt.Errorf("%s: ensure %s: %w", r.Kind, name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, there := r.items[name]
	if there && same(old.config, c) {
		return old.state, false, nil
	}
	s := r.Make(c)
	if there && r.Change != nil {
		s = r.Change(old.config, c)
	}
	if r.items == nil {
		r.items = map[app.Name]item[C, S]{}
	}
	r.items[name] = item[C, S]{c, s}
	r.Diary.Write("%s: ensure %s", r.Kind, name)
	return s, true, nil
}

// same compares two configurations without their functions, which Go cannot
// compare.
func same[C any](a, b C) bool {
	av, bv := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem()
	if av.Kind() == reflect.Struct {
		for i := range av.NumField() {
			if av.Field(i).Kind() == reflect.Func {
				av.Field(i).SetZero()
				bv.Field(i).SetZero()
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// Remove forgets name.
func (r *Room[C, S]) Remove(ctx context.Context, name app.Name) error {
	if err := r.before(ctx, "remove", name); err != nil {
		return fmt.Errorf("%s: remove %s: %w", r.Kind, name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.items[name]; there {
		delete(r.items, name)
		r.Diary.Write("%s: remove %s", r.Kind, name)
	}
	return nil
}

// List returns what there is, by name.
func (r *Room[C, S]) List(context.Context) ([]S, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []S
	for _, n := range slices.Sorted(maps.Keys(r.items)) {
		out = append(out, r.items[n].state)
	}
	return out, nil
}

// Get returns the state of name.
func (r *Room[C, S]) Get(name app.Name) (S, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	it, ok := r.items[name]
	return it.state, ok
}

// Config is what was asked for under a name.
func (r *Room[C, S]) Config(name app.Name) (C, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.items[name]
	return i.config, ok
}

// Update changes the state of name, if it is there.
func (r *Room[C, S]) Update(name app.Name, change func(*C, *S)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	it, ok := r.items[name]
	if ok {
		change(&it.config, &it.state)
		r.items[name] = it
	}
	return ok
}

// Clear forgets everything, as a crash of what keeps it does.
func (r *Room[C, S]) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.items)
}

func (r *Room[C, S]) before(ctx context.Context, verb string, name app.Name) error {
	if r.Hook != nil {
		if err := r.Hook(ctx, verb, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Diary is the order in which things were done.
type Diary struct {
	mu    sync.Mutex
	lines []string
}

// Write adds a line. A nil Diary keeps none.
func (d *Diary) Write(format string, args ...any) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// Take returns the lines since the last Take.
func (d *Diary) Take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// ErrHook is an error for hooks that only have to fail.
var ErrHook = errors.New("it was told to fail")
