package main

import (
	"errors"
	"strings"
	"testing"

	"beamsandbox/images"
	"beamsandbox/reconcile"
)

// TestLateImages: the room is opened when it is needed and can be, once.
func TestLateImages(t *testing.T) {
	missing, opened := errors.New("find erl on PATH: install it"), 0
	l := &lateImages{open: func() (*images.Store, error) {
		opened++
		if missing != nil {
			return nil, missing
		}
		return &images.Store{}, nil
	}}
	_, ensureErr := l.Ensure(t.Context(), images.Recipe{Name: "pulse"})
	_, listErr := l.List(t.Context())
	for verb, err := range map[string]error{"Ensure": ensureErr, "List": listErr, "Remove": l.Remove(t.Context(), "pulse")} {
		if !errors.Is(err, reconcile.ErrNotReady) || !errors.Is(err, missing) || !strings.Contains(err.Error(), "find erl on PATH") {
			t.Errorf("%s: %v, want the reason, and to be asked again soon", verb, err)
		}
	}
	missing, opened = nil, 0
	for range 2 {
		if _, err := l.ready(); err != nil {
			t.Error(err)
		}
	}
	if opened != 1 {
		t.Errorf("the store was opened %d times", opened)
	}
}
