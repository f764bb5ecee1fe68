package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func machineOTP(t *testing.T) otp {
	t.Helper()
	root, err := FindErlang()
	if err != nil {
		t.Fatal(err)
	}
	o, err := openOTP(root)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func bases(t tree) (out []string) {
	for name, n := range t {
		if n.from != "" {
			out = append(out, filepath.Base(name))
		}
	}
	slices.Sort(out)
	return out
}

func TestClosureOfTheEmulator(t *testing.T) {
	o := machineOTP(t)
	libs := tree{}
	if err := libs.closure(filepath.Join(o.root, "erts-"+o.erts, "bin", "beam.smp")); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(bases(libs), " ")
	for _, want := range []string{"libc.so.6", "libm.so.6", "ld-linux"} {
		if !strings.Contains(got, want) {
			t.Errorf("closure of beam.smp = %s, without %s", got, want)
		}
	}
	for name, n := range libs {
		if n.from != "" && strings.HasPrefix(name, "lib") {
			t.Errorf("library at %s: want it below usr, where the links of usr-merge lead", name)
		}
	}
}

// A library is found through another: libcrypto is not named by beam.smp.
func TestClosureIsTransitive(t *testing.T) {
	o := machineOTP(t)
	nif, err := filepath.Glob(filepath.Join(o.root, "lib", "crypto-*", "priv", "lib", "crypto.so"))
	if err != nil || len(nif) == 0 {
		t.Fatalf("find crypto.so below %s: %v", o.root, err)
	}
	libs := tree{}
	if err := libs.closure(nif...); err != nil {
		t.Fatal(err)
	}
	if got := bases(libs); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "libcrypto.so") }) {
		t.Errorf("closure of crypto.so = %v, without libcrypto", got)
	}
}

// A program of the machine needs versions that the machine's libraries have,
// and none that they do not.
func TestClosureComparesVersions(t *testing.T) {
	o := machineOTP(t)
	beam := filepath.Join(o.root, "erts-"+o.erts, "bin", "beam.smp")
	want, err := needs(beam)
	if err != nil || len(want.versions["libc.so.6"]) < 2 {
		t.Fatalf("beam.smp needs versions %v, %v", want.versions, err)
	}
	libc, _, err := newLinker(want.arch).find("libc.so.6", beam, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := provides(libc, want.versions["libc.so.6"]); err != nil {
		t.Error(err)
	}
	err = provides(libc, append(want.versions["libc.so.6"], "GLIBC_99.1"))
	if err == nil || !strings.Contains(err.Error(), "lacks version GLIBC_99.1") {
		t.Errorf("a version that nobody has: %v", err)
	}
}

func TestClosurePassesScripts(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	libs := tree{}
	if err := libs.closure(script); err != nil || len(libs) != 0 {
		t.Errorf("closure of a script = %v, %v; want nothing", libs, err)
	}
}

// Whoever writes a shared library into a release must not be able to name a
// file of the host that ends up in the image.
func TestFindRefusesFilesByPath(t *testing.T) {
	self, err := needs("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "libsecret.so"), []byte("\x7fELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lib := range []string{"/etc/shadow", "../etc/shadow", "libsecret.so"} {
		want := self
		want.paths = []string{secret}
		if from, _, err := newLinker(self.arch).find(lib, "evil.so", want, nil); err == nil {
			t.Errorf("find(%q) = %s, want an error", lib, from)
		}
	}
	want := self
	want.interp, want.libs = "/etc/shadow", nil
	if _, err := (tree{}).link("evil", want, nil); err == nil {
		t.Error("a dynamic linker outside of the system's folders was taken")
	}
}

func TestClosureNamesWhatIsMissing(t *testing.T) {
	self, err := needs("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = newLinker(self.arch).find("libnowhere.so.9", "x.so", self, nil)
	if err == nil || !strings.Contains(err.Error(), "libnowhere.so.9") || !strings.Contains(err.Error(), "x.so") {
		t.Errorf("err = %v, want it to name the library and who needs it", err)
	}
}
