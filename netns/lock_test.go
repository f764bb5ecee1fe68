package netns

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"beamsandbox/reconcile/app"
)

// TestGateExcludesAnotherProcess uses two gates, which are to each other as
// two processes: the lock belongs to the open file.
func TestGateExcludesAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	var inside [2]atomic.Int32
	var wg sync.WaitGroup
	for i := range inside {
		g := &gate{dir: dir}
		for range 4 {
			wg.Go(func() {
				for range 200 {
					if err := g.enter(); err != nil {
						t.Error(err)
						return
					}
					inside[i].Add(1)
					if inside[1-i].Load() != 0 {
						t.Error("both gates are open at once")
					}
					inside[i].Add(-1)
					if err := g.leave(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory is left after the last one went: %v", err)
	}
}

func TestGateKeepsDirectoryInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	g := &gate{dir: dir}
	if err := g.enter(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pulse")
	if err := os.WriteFile(file, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := g.leave(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestKeyed(t *testing.T) {
	var k keyed
	counts := map[app.Name]*int{"a": new(int), "b": new(int)}
	var wg sync.WaitGroup
	for range 50 {
		for name, n := range counts {
			wg.Go(func() {
				unlock := k.lock(name)
				defer unlock()
				*n++
			})
		}
	}
	wg.Wait()
	if *counts["a"] != 50 || *counts["b"] != 50 || len(k.held) != 0 {
		t.Errorf("counts %d and %d, %d locks left", *counts["a"], *counts["b"], len(k.held))
	}
}
