package images

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// An otp is one Erlang/OTP installation of the machine.
type otp struct {
	root    string // code:root_dir(), "/usr/lib/erlang"
	release string // "25"
	erts    string // "13.1.5"
}

// ErrErlang says that there is no usable Erlang/OTP on the machine.
var ErrErlang = errors.New("no usable Erlang/OTP")

// FindErlang returns the root folder (code:root_dir/0) of the Erlang/OTP whose
// erl is first on PATH. Nothing is run: erl is a script in ROOT/bin.
func FindErlang() (string, error) {
	erl, err := exec.LookPath("erl")
	if err != nil {
		return "", fmt.Errorf("find erl on PATH: %w: install Erlang/OTP or name its root folder", ErrErlang)
	}
	if erl, err = filepath.EvalSymlinks(erl); err != nil {
		return "", fmt.Errorf("find erl on PATH: %w", err)
	}
	root := filepath.Dir(filepath.Dir(erl))
	if _, err := openOTP(root); err != nil {
		return "", err
	}
	return root, nil
}

// openOTP reads the versions of the installation at root. start_erl.data
// holds "ERTS RELEASE".
func openOTP(root string) (otp, error) {
	data, err := os.ReadFile(filepath.Join(root, "releases", "start_erl.data"))
	if err != nil {
		return otp{}, fmt.Errorf("read the version of Erlang in %s: %w: %w", root, ErrErlang, err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != 2 {
		return otp{}, fmt.Errorf("read the version of Erlang in %s: %w: start_erl.data holds %q, not a version of ERTS and a release", root, ErrErlang, data)
	}
	o := otp{root: root, erts: fields[0], release: fields[1]}
	for _, program := range runtimePrograms {
		if _, err := os.Stat(filepath.Join(root, "erts-"+o.erts, "bin", program)); err != nil {
			return otp{}, fmt.Errorf("look for %s of Erlang in %s: %w: %w", program, root, ErrErlang, err)
		}
	}
	return o, nil
}

// has reports whether app, "kernel-8.5.3", is one of this installation's own.
func (o otp) has(app string) bool {
	info, err := os.Stat(filepath.Join(o.root, "lib", app))
	return err == nil && info.IsDir()
}

// provides reports whether app, "kernel-8.5.3", is of this installation's own
// in this or another version.
func (o otp) provides(app string) bool {
	name, _, _ := strings.Cut(app, "-")
	all, err := filepath.Glob(filepath.Join(o.root, "lib", name+"-[0-9]*"))
	return err == nil && len(all) > 0
}

// runtimePrograms are what of erts/bin a guest needs: the emulator, its
// starter, the helper for ports and the name resolver.
var runtimePrograms = []string{"beam.smp", "erlexec", "erl_child_setup", "inet_gethost"}

// findRebar3 returns the machine's rebar3: beside our own program, else on PATH.
func findRebar3() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "rebar3")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	p, err := exec.LookPath("rebar3")
	if err != nil {
		return "", errors.New("find rebar3: it is neither beside this program nor on PATH; run make setup")
	}
	return filepath.EvalSymlinks(p)
}
