package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// Sweep takes away what a daemon that was killed left of its jobs: those that
// run still, and the folders, snapshots and control groups of those that were
// half made or half removed. Call it before the first RunJob.
func (t *Tasks) Sweep(ctx context.Context) error {
	if err := t.SweepJobs(ctx); err != nil {
		return err
	}
	ctx = t.stack.Namespaced(ctx)
	var ids []string
	for _, dir := range []string{t.cfg.StateDir, t.cgroups.dir("memory", t.cfg.CgroupParent)} {
		found, err := filepath.Glob(filepath.Join(dir, jobID("*")))
		if err != nil {
			return fmt.Errorf("look for unfinished jobs in %s: %w", dir, err)
		}
		for _, path := range found {
			if info, err := os.Lstat(path); err == nil && info.IsDir() {
				ids = append(ids, filepath.Base(path))
			}
		}
	}
	snapshotter := t.stack.Client().SnapshotService(t.stack.Snapshotter())
	err := snapshotter.Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		if strings.HasPrefix(s.Name, jobID("")) {
			ids = append(ids, s.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for snapshots of unfinished jobs: %w", err)
	}
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		errs = append(errs, t.discard(ctx, id))
	}
	return errors.Join(errors.Join(errs...), t.trim())
}
