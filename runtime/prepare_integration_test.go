//go:build integration

package runtime_test

import (
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/runtime"
)

// TestPrepare: an image is unpacked ahead of its guests, as often as asked; a
// name that is not in the store is named.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	tasks := runtime.NewTasks(shared.stack, runtime.TasksConfig{
		StateDir: filepath.Join(dir, "guests"), LogDir: filepath.Join(dir, "logs"), CgroupParent: testParent,
	})
	t.Cleanup(func() { tasks.Close() })
	for range 2 {
		if err := tasks.Prepare(t.Context(), probeImage); err != nil {
			t.Fatal(err)
		}
	}
	image, err := shared.stack.Client().GetImage(shared.stack.Namespaced(t.Context()), probeImage)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := image.IsUnpacked(shared.stack.Namespaced(t.Context()), shared.stack.Snapshotter()); err != nil || !done {
		t.Errorf("the image is unpacked: %v, %v", done, err)
	}
	const absent = "runtime.test/absent:1"
	if err := tasks.Prepare(t.Context(), absent); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("prepare an image that is not there: %v", err)
	}
}
