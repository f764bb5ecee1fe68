package main

import (
	"context"
	"os"

	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

func cookies(c Config) reconcile.CookieFiles {
	home, _ := os.UserHomeDir() //nolint:errcheck // "" has no cookie file
	return reconcile.CookieFiles{Root: c.Root, Configured: c.Cookie, Getenv: c.Getenv, Home: home}
}

// hostCookies are what the host VM may know: the cluster's cookie and, while
// that is replaced, the next one.
func hostCookies(files reconcile.CookieFiles) func() ([]app.Secret, error) {
	return func() ([]app.Secret, error) {
		now, err := files.Cluster()
		if err != nil {
			return nil, err
		}
		next, err := files.Next("")
		if err != nil || next.Empty() {
			return []app.Secret{now}, err
		}
		return []app.Secret{now, next}, nil
	}
}

// RotateCookie implements control.Cookies.
func (d *daemon) RotateCookie(ctx context.Context, name string) ([]status.Rotation, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	if name != "" {
		done, err := p.reconciler.RotateCookie(ctx, app.Name(name))
		return []status.Rotation{done}, err
	}
	var all []status.Rotation
	for _, a := range p.reconciler.Status().Apps {
		if a.Isolation != string(app.VM) {
			continue
		}
		done, err := p.reconciler.RotateCookie(ctx, app.Name(a.Name))
		if err != nil {
			done = status.Rotation{App: a.Name, State: status.RotationFailed, Detail: err.Error()}
		}
		all = append(all, done)
	}
	return all, nil
}

// RotateCluster implements control.Cookies.
func (d *daemon) RotateCluster(ctx context.Context) ([]status.Rotation, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	done, err := p.reconciler.RotateCluster(ctx)
	return []status.Rotation{done}, err
}
