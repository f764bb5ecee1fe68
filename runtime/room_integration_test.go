//go:build integration

package runtime_test

import (
	"testing"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/runtime"
)

// TestTasksRoom and TestEmbeddedRoom hold the real rooms to what the
// in-memory ones promise.
func TestTasksRoom(t *testing.T) {
	r := newRoom(t)
	r.names = []app.Name{"conform_a", "conform_b"}
	reconciletest.TestRoom(t, reconciletest.Subject[runtime.Config, runtime.Task]{
		Room: r, Alone: true,
		Config: func(n app.Name) runtime.Config { return guest(string(n), "wait") },
		Name:   func(s runtime.Task) app.Name { return s.Name },
		Equal: func(a, b runtime.Task) bool {
			return a.Digest == b.Digest && a.State == b.State && a.Pid == b.Pid && a.Started.Equal(b.Started)
		},
	})
}

func TestEmbeddedRoom(t *testing.T) {
	host := startHost(t)
	paths := map[app.Name]string{
		"conform_a": compileApp(t, "conform_a", "1.0.0"),
		"conform_b": compileApp(t, "conform_b", "1.0.0"),
	}
	reconciletest.TestRoom(t, reconciletest.Subject[runtime.EmbeddedConfig, runtime.EmbeddedApp]{
		Room: runtime.NewEmbedded(host), Alone: true,
		Config: func(n app.Name) runtime.EmbeddedConfig {
			return runtime.EmbeddedConfig{Name: n, Version: "1.0.0", Digest: "d1", CodePaths: []string{paths[n]}}
		},
		Name: func(s runtime.EmbeddedApp) app.Name { return s.Name },
	})
}
