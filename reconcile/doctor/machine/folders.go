package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/status"
)

// maxRunDir leaves room for names of sockets: unix(7) allows 107 bytes.
const maxRunDir = 60

// folder checks that dir is root's alone to write to, or can be made.
func folder(key, dir string) status.Check {
	name := key + "_rights"
	info, err := os.Stat(dir)
	switch {
	case key == "run_dir" && len(dir) > maxRunDir:
		return status.Bad(name, dir+" is too long for sockets", fmt.Sprintf("choose a sandboxd.run_dir of at most %d characters", maxRunDir))
	case errors.Is(err, fs.ErrNotExist):
		return status.Good(name, dir+" is made when sandboxd starts")
	case err != nil:
		return status.Bad(name, err.Error(), "run as root")
	case !info.IsDir():
		return status.Bad(name, dir+" is not a folder", "move it away, or choose another sandboxd."+key)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		return status.Bad(name, fmt.Sprintf("%s belongs to user %d", dir, owner), "chown root "+dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return status.Bad(name, fmt.Sprintf("%s has mode %#o: others may write to it", dir, info.Mode().Perm()), "chmod go-w "+dir)
	}
	return status.Good(name, fmt.Sprintf("%s belongs to root, mode %#o", dir, info.Mode().Perm()))
}

// secrets checks that cookies are root's alone to read.
func secrets(root string) status.Check {
	const name = "cookie_files"
	files, _ := filepath.Glob(filepath.Join(root, "cookies", "*")) //nolint:errcheck // the pattern is well formed
	files = append(files, filepath.Join(root, "cookie"))
	n := 0
	for _, f := range files {
		info, err := os.Stat(f)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return status.Doubtful(name, err.Error(), "run as root")
		}
		n++
		if info.Mode().Perm()&0o077 != 0 {
			return status.Bad(name, fmt.Sprintf("%s has mode %#o: others may read it", f, info.Mode().Perm()), "chmod 600 "+f+", and change that cookie")
		}
	}
	return status.Good(name, fmt.Sprintf("%d, root alone reads them", n))
}

const (
	littleSpace = 1 << 30 // nothing is built with less
	someSpace   = 5 << 30
)

// space checks the file system that images are kept on.
func space(dir string) status.Check {
	const name = "disk_space"
	there := nearest(dir)
	var s unix.Statfs_t
	if err := unix.Statfs(there, &s); err != nil {
		return status.Bad(name, there+": "+err.Error(), "mend the file system")
	}
	free := s.Bavail * uint64(s.Bsize)
	found := fmt.Sprintf("%d MB free at %s", free>>20, there)
	const cure = "free some: 'sandboxctl image prune' removes images that no app uses; image_cache_mb bounds them"
	switch {
	case free < littleSpace:
		return status.Bad(name, found, cure)
	case s.Files > 0 && s.Ffree < s.Files/50:
		return status.Bad(name, fmt.Sprintf("%d of %d inodes free at %s", s.Ffree, s.Files, there), cure)
	case free < someSpace:
		return status.Doubtful(name, found, cure)
	}
	return status.Good(name, found)
}

// nearest is dir or the first folder above it that exists.
func nearest(dir string) string {
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
