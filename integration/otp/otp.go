// Package otp runs an Erlang/OTP that is unpacked in a folder and installed
// nowhere, as a host VM and as the content of a guest's image.
package otp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Tree is the root file system of another Debian with erlang-base in it, as
// make setup-test unpacks one: usr/lib/erlang and the libraries of its programs.
type Tree struct {
	Dir     string // absolute
	Release string // "27"
	erts    string // "15.2.7"
	libs    string // "usr/lib/x86_64-linux-gnu"
}

// Open reads what is in dir. The error names what is missing.
func Open(dir string) (Tree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Tree{}, err
	}
	data, err := os.ReadFile(filepath.Join(dir, "usr/lib/erlang/releases/start_erl.data"))
	fields := strings.Fields(string(data))
	if err != nil || len(fields) != 2 {
		return Tree{}, fmt.Errorf("open the Erlang in %s: it is not there (%w): run 'make setup-test'", dir, err)
	}
	libc, err := filepath.Glob(filepath.Join(dir, "usr/lib/*/libc.so.6"))
	if err != nil || len(libc) != 1 {
		return Tree{}, fmt.Errorf("open the Erlang in %s: found C libraries %q (%w), expected one", dir, libc, err)
	}
	libs, err := filepath.Rel(dir, filepath.Dir(libc[0]))
	return Tree{Dir: dir, Release: fields[1], erts: fields[0], libs: libs}, err
}

// withLibraries runs a program that is linked to the libraries in $1 with those
// in place of the machine's, in a mount namespace that ends with it.
const withLibraries = `mount --bind "$1" "/$2"; shift 2; exec "$@"`

// Erl is the command of this tree's emulator on this machine, to be followed
// by erl's arguments, and the variables that it needs. It takes root.
func (t Tree) Erl() (command, env []string) {
	command = []string{"unshare", "--mount", "sh", "-ec", withLibraries, "erl", filepath.Join(t.Dir, t.libs), t.libs,
		filepath.Join(t.Dir, t.erlexec())}
	return command, t.env(t.Dir)
}

func (t Tree) bin() string { return "usr/lib/erlang/erts-" + t.erts + "/bin" }

func (t Tree) erlexec() string { return t.bin() + "/erlexec" }

// env is what erl, a script, sets for erlexec; root is where the tree is.
func (t Tree) env(root string) []string {
	return []string{"ROOTDIR=" + filepath.Join(root, "usr/lib/erlang"), "BINDIR=" + filepath.Join(root, t.bin()), "EMU=beam", "PROGNAME=erl"}
}
