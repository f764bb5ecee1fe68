package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"beamsandbox/reconcile/app"
)

// SetCookie replaces the file that a guest's cookie is read from when its
// emulator starts anew inside the guest. No guest, no file: then nothing is
// done.
func (t *Tasks) SetCookie(ctx context.Context, name app.Name, cookie app.Secret) error {
	unlock, err := t.names.lock(ctx, string(name))
	if err != nil {
		return fmt.Errorf("wait for the turn of %s: %w", name, err)
	}
	defer unlock()
	err = t.state(string(name)).replace("home/"+cookieFile, []byte(cookie.Reveal()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give %s its new cookie: %w", name, err)
	}
	return nil
}

// replace gives a file that is there another content, at once and for the same
// owner: a guest sees the old one or the new one.
func (d stateDir) replace(path string, data []byte) error {
	path = filepath.Join(string(d), path)
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("find out who owns %s", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chown(int(owner.Uid), int(owner.Gid)), f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
