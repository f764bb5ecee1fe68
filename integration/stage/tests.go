package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// setUpTime bounds how long the parts of a stage may take to stand, from when
// it is our turn.
const setUpTime = 5 * time.Minute

// Tests runs the tests m of a package on a stage of their own, when it is their
// turn on this machine, and returns the exit code for os.Exit. bin is the folder
// of the built programs. end is called whatever came before; then all that the
// stage started is ended.
func Tests(m interface{ Run() int }, bin string, setUp func(context.Context, *Stage) error, end func(context.Context) error) (code int) {
	unlock, err := TakeTurn()
	if err != nil {
		return report(err)
	}
	defer unlock()
	dir, err := os.MkdirTemp("", "beamsandbox-test-")
	if err != nil {
		return report(err)
	}
	defer os.RemoveAll(dir)
	if bin, err = filepath.Abs(bin); err != nil {
		return report(err)
	}
	s, err := New(bin, dir, filepath.Join(dir, "root"), "/run/beamsandbox-test")
	if err != nil {
		return report(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), setUpTime)
	defer cancel()
	if err := setUp(ctx, s); err != nil {
		code = report(err)
	} else {
		code = m.Run()
	}
	if err := errors.Join(end(context.WithoutCancel(ctx)), s.Close()); err != nil {
		code = report(err)
	}
	return code
}

func report(err error) int {
	fmt.Fprintln(os.Stderr, "tests:", err)
	return 1
}
