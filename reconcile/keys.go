package reconcile

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/reconcile/app"
)

// keys keeps rotations apart from each other, and from those who hand cookies
// to the gateway and to guests.
type keys struct {
	one        sync.Mutex    // held by a rotation
	mu         sync.RWMutex  // held while cookies change, to read while they are handed on
	unfinished chan struct{} // one token: a rotation was left to finishRotations
}

// still keeps cookies as they are until the returned function is called.
func (k *keys) still() func() {
	k.mu.RLock()
	return k.mu.RUnlock
}

// later leaves a rotation to finishRotations.
func (k *keys) later() {
	select {
	case k.unfinished <- struct{}{}:
	default:
	}
}

func (r *Reconciler) guestKeys(name app.Name) (distribution.Cookie, error) {
	now, err := r.cookies.Guest(name)
	if err != nil {
		return distribution.Cookie{}, err
	}
	next, err := r.cookies.Next(name)
	return distribution.Cookie{Now: now, Next: next}, err
}

func (r *Reconciler) clusterKeys() (distribution.Cookie, error) {
	now, err := r.cookies.Cluster()
	if err != nil {
		return distribution.Cookie{}, err
	}
	next, err := r.cookies.Next(clusterCookie)
	return distribution.Cookie{Now: now, Next: next}, err
}

// Between two tries to finish a rotation.
const (
	finishFirst = 250 * time.Millisecond
	finishMost  = 5 * time.Second
)

// finishRotations ends what was cut short, by a crash or because somebody was
// out of reach, until ctx ends: the new cookie is given to whoever may not
// know it yet, and then is the only one.
func (r *Reconciler) finishRotations(ctx context.Context) {
	wait := finishFirst
	for ctx.Err() == nil {
		if r.finishAll(ctx) {
			wait = finishFirst
			select {
			case <-r.keys.unfinished:
			case <-ctx.Done():
			}
			continue
		}
		sleep(ctx, wait)
		wait = min(2*wait, finishMost)
	}
}

// finishAll tries every rotation that is under way and reports whether none
// is left.
func (r *Reconciler) finishAll(ctx context.Context) bool {
	names, err := r.cookies.Pending()
	if err != nil {
		r.log.Warn("look for rotations to finish", "err", err)
	}
	done := err == nil
	for _, name := range names {
		done = r.finish(ctx, name) == nil && done
	}
	return done
}

// finish goes on with one rotation.
func (r *Reconciler) finish(ctx context.Context, name app.Name) error {
	r.keys.one.Lock()
	defer r.keys.one.Unlock()
	if next, err := r.cookies.Next(name); err != nil || next.Empty() {
		return err // somebody else has finished it
	}
	var err error
	if name == clusterCookie {
		_, err = r.rotateCluster(ctx)
	} else {
		err = r.rotateGuest(ctx, name)
	}
	if err != nil {
		r.log.Debug("finish the rotation of a cookie", "app", name, "err", err)
		return err
	}
	r.log.Info("finished the rotation of a cookie", "app", name)
	return nil
}

// without returns err with every secret in its text blotted out: nodes quote
// what they were called with when they refuse it.
func without(err error, secrets ...app.Secret) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, s := range secrets {
		if !s.Empty() {
			text = strings.ReplaceAll(text, s.Reveal(), s.String())
		}
	}
	if text == err.Error() {
		return err
	}
	return &scrubbed{text: text, err: err}
}

// scrubbed is an error without the secrets in its text; the error below it can
// be told apart and not be printed.
type scrubbed struct {
	text string
	err  error
}

func (s *scrubbed) Error() string { return s.text }

func (s *scrubbed) Is(target error) bool { return errors.Is(s.err, target) }
