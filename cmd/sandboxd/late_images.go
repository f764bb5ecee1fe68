package main

import (
	"context"
	"fmt"
	"sync"

	"beamsandbox/images"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
)

// lateImages is the room of images where Erlang or rebar3 may be installed
// later: every use looks for them until they are there. Guests that run need
// neither.
type lateImages struct {
	open func() (*images.Store, error)

	mu    sync.Mutex
	store *images.Store
}

func (l *lateImages) ready() (*images.Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != nil {
		return l.store, nil
	}
	store, err := l.open()
	if err != nil {
		return nil, &notReady{err}
	}
	l.store = store
	return store, nil
}

// Ensure implements reconcile.Room.
func (l *lateImages) Ensure(ctx context.Context, r images.Recipe) (images.Image, error) {
	store, err := l.ready()
	if err != nil {
		return images.Image{}, err
	}
	return store.Ensure(ctx, r)
}

// Good says that an app made of this image was well.
func (l *lateImages) Good(ctx context.Context, name app.Name, ref string) error {
	store, err := l.ready()
	if err != nil {
		return err
	}
	return store.Good(ctx, name, ref)
}

// Head says where a source is now (reconcile's header).
func (l *lateImages) Head(ctx context.Context, src app.Source) (string, error) {
	store, err := l.ready()
	if err != nil {
		return "", err
	}
	return store.Head(ctx, src)
}

// Remove implements reconcile.Room.
func (l *lateImages) Remove(ctx context.Context, name app.Name) error {
	store, err := l.ready()
	if err != nil {
		return fmt.Errorf("remove the images of %s: %w", name, err)
	}
	return store.Remove(ctx, name)
}

// List implements reconcile.Room.
func (l *lateImages) List(ctx context.Context) ([]images.Image, error) {
	store, err := l.ready()
	if err != nil {
		return nil, err
	}
	return store.List(ctx)
}

// notReady is an error of the machine that its operator mends.
type notReady struct{ err error }

func (e *notReady) Error() string        { return e.err.Error() }
func (e *notReady) Is(target error) bool { return target == reconcile.ErrNotReady }
func (e *notReady) Unwrap() error        { return e.err }
