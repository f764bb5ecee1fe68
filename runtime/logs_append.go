package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// AppendLog adds text to a guest's log: what code of the host VM, run in the
// guest, wrote to the host. The log must be there already; rotation bounds it
// like everything else that the guest writes.
func (t *Tasks) AppendLog(name app.Name, text []byte) error {
	if err := checkName(string(name)); err != nil {
		return err
	}
	return t.logs.append(string(name), text)
}

// append never follows a link: the folder is ours, and stays so.
func (l *logs) append(id string, text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path(id), os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("add to the log of %s: %w", id, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("add to the log of %s: %s", id, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
