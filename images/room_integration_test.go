//go:build integration

package images_test

import (
	"testing"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
)

// TestRoom holds the real store to what the in-memory room promises.
func TestRoom(t *testing.T) {
	_, cfg := rooms(t)
	addresses := map[app.Name]string{}
	for _, n := range []app.Name{"conform_a", "conform_b"} {
		addresses[n] = source(t, "", map[string]string{
			"rebar.config":                  "{erl_opts, [debug_info]}.\n",
			"src/" + string(n) + ".app.src": "{application, " + string(n) + ", [{vsn, \"1.0.0\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
		})
	}
	reconciletest.TestRoom(t, reconciletest.Subject[images.Recipe, images.Image]{
		Room:   open(t, cfg),
		Config: func(n app.Name) images.Recipe { return recipe(n, addresses[n]) },
		Name:   func(i images.Image) app.Name { return i.Name },
		Equal: func(a, b images.Image) bool {
			return a.Ref == b.Ref && a.Digest == b.Digest && a.Revision == b.Revision
		},
	})
}
