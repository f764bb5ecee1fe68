package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where no file system can exchange owners (containerd before 2.0, kernel
// before 6.3), the writable folders of a job are lent to it: they belong to its
// user while it runs, and go back to the owner of the folder afterwards.

type owner struct {
	path     string
	uid, gid int
}

// owners remembers whose the writable folders are; nil when nothing is lent.
func (t *Tasks) owners(c JobConfig) ([]owner, error) {
	if t.stack.UserNS() {
		return nil, nil
	}
	var list []owner
	for _, m := range c.Mounts {
		if m.ReadOnly {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(m.Source, &st); err != nil {
			return nil, fmt.Errorf("show %s to job %s: %w", m.Source, c.Name, err)
		}
		list = append(list, owner{m.Source, int(st.Uid), int(st.Gid)})
	}
	return list, nil
}

func lend(mounts []JobMount, uid uint32) error {
	for _, m := range mounts {
		if m.ReadOnly {
			continue
		}
		if err := chownTree(owner{m.Source, int(uid), int(uid)}); err != nil {
			return err
		}
	}
	return nil
}

// giveBack is called when the job's last process is gone.
func giveBack(owners []owner) error {
	var errs []error
	for _, o := range owners {
		errs = append(errs, chownTree(o))
	}
	return errors.Join(errs...)
}

// chownTree gives everything below o.path to o; links are given, not followed.
func chownTree(o owner) error {
	err := filepath.WalkDir(o.path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, o.uid, o.gid)
	})
	if err != nil {
		return fmt.Errorf("change the owner of %s: %w", o.path, err)
	}
	return nil
}
