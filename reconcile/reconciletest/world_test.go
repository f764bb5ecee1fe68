package reconciletest_test

import (
	"testing"

	"beamsandbox/distribution"
	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/runtime"
)

// TestRoomsInMemory holds the rooms in memory to what the real ones promise,
// so that fakes cannot lie.
func TestRoomsInMemory(t *testing.T) {
	w := reconciletest.NewWorld()
	t.Run("images", func(t *testing.T) {
		reconciletest.TestRoom(t, reconciletest.Subject[images.Recipe, images.Image]{
			Room: w.Images, Alone: true,
			Config: func(n app.Name) images.Recipe { return images.Recipe{Name: n, Version: "1.0.0"} },
			Name:   func(s images.Image) app.Name { return s.Name },
		})
	})
	t.Run("networks", func(t *testing.T) {
		reconciletest.TestRoom(t, reconciletest.Subject[netns.Config, netns.Network]{
			Room: w.Networks, Alone: true,
			Config: func(n app.Name) netns.Config { return netns.Config{Name: n} },
			Name:   func(s netns.Network) app.Name { return s.Name },
		})
	})
	t.Run("nodes", func(t *testing.T) {
		reconciletest.TestRoom(t, reconciletest.Subject[distribution.Member, distribution.Node]{
			Room: w.Nodes, Alone: true,
			Config: func(n app.Name) distribution.Member {
				return distribution.Member{Name: n, Node: string(n) + "@myhost", Cookie: app.NewSecret("c")}
			},
			Name: func(s distribution.Node) app.Name { return s.Name },
		})
	})
	t.Run("tasks", func(t *testing.T) {
		reconciletest.TestRoom(t, reconciletest.Subject[runtime.Config, runtime.Task]{
			Room: w.Tasks, Alone: true,
			Config: func(n app.Name) runtime.Config { return runtime.Config{Name: n, Digest: "d"} },
			Name:   func(s runtime.Task) app.Name { return s.Name },
		})
	})
	t.Run("embedded", func(t *testing.T) {
		reconciletest.TestRoom(t, reconciletest.Subject[runtime.EmbeddedConfig, runtime.EmbeddedApp]{
			Room: w.Embedded, Alone: true,
			Config: func(n app.Name) runtime.EmbeddedConfig { return runtime.EmbeddedConfig{Name: n, Digest: "d"} },
			Name:   func(s runtime.EmbeddedApp) app.Name { return s.Name },
		})
	})
}
