package images

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errNoCompiler says that the machine has no C compiler; builds go without.
var errNoCompiler = errors.New("no C compiler on this machine")

// compilerPrograms are what C sources are built with.
var compilerPrograms = []string{"gcc", "cc", "as", "ld", "ar", "ranlib", "nm", "strip", "objcopy", "make"}

// headerFolders of /usr/include belong to the C library and the kernel.
var headerFolders = []string{
	"arpa", "asm-generic", "asm", "bits", "gnu", "linux", "misc", "mtd", "net", "netinet", "netpacket", "protocols",
	"rpc", "scsi", "sound", "sys",
}

// libraryFiles are what the linker takes for a program or a driver in C.
var libraryFiles = []string{
	"crt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.so", "libc.so.6", "libc_nonshared.a", "libgcc_s.so.1", "libstdc++.so.6", "libm.so", "libm.so.6",
	"libmvec.so.1", "libpthread.a", "libdl.a", "librt.a", "libutil.a", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
}

// addCompiler adds the machine's C compiler, and the one for C++ when there is
// one, with the headers and libraries of the languages themselves: enough for
// drivers and NIFs that need nothing else.
func (t tree) addCompiler() error {
	libgcc, err := askCompiler("-print-libgcc-file-name")
	if err != nil {
		return err
	}
	crt, err := askCompiler("-print-file-name=crt1.o")
	if err != nil {
		return err
	}
	for _, name := range compilerPrograms {
		from, err := exec.LookPath(name)
		if err != nil && name == "make" {
			continue
		}
		if err != nil {
			return errNoCompiler
		}
		if err := t.addFile("usr/bin/"+name, from); err != nil {
			return err
		}
	}
	if err := t.addCompilerFolder(filepath.Dir(libgcc)); err != nil {
		return err
	}
	arch := filepath.Base(filepath.Dir(crt))
	if err := t.addHeaders("/usr/include", arch); err != nil {
		return err
	}
	if err := t.addCxx(filepath.Dir(libgcc), arch); err != nil {
		return err
	}
	for _, name := range libraryFiles {
		from := filepath.Join(filepath.Dir(crt), name)
		if _, err := os.Stat(from); err != nil {
			continue // other machines, other files
		}
		if err := t.addFile(clean(from), from); err != nil {
			return err
		}
	}
	return t.closure(t.sources()...)
}

// addCxx adds what C++ needs beside C. Debian's g++ is a package of its own: a
// machine may have one compiler without the other.
func (t tree) addCxx(dir, arch string) error {
	version := filepath.Base(dir)
	headers := filepath.Join("/usr/include/c++", version)
	if _, err := os.Stat(headers); err != nil {
		return nil
	}
	for name, from := range map[string]string{"g++": "", "c++": "", "cc1plus": filepath.Join(dir, "cc1plus")} {
		to := clean(from)
		if from == "" {
			found, err := exec.LookPath(name)
			if err != nil {
				return nil
			}
			from, to = found, "usr/bin/"+name
		}
		if err := t.addFile(to, from); err != nil {
			return err
		}
	}
	for _, folder := range []string{headers, filepath.Join("/usr/include", arch, "c++", version)} {
		if _, err := os.Stat(folder); err != nil {
			continue // other machines, other folders
		}
		if err := t.addFolder(folder); err != nil {
			return err
		}
	}
	for _, name := range []string{"libstdc++.so", "libsupc++.a"} {
		from := filepath.Join(dir, name)
		if _, err := os.Stat(from); err == nil {
			if err := t.addFile(clean(from), from); err != nil {
				return err
			}
		}
	}
	return nil
}

// askCompiler asks gcc where it keeps a file.
func askCompiler(question string) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errNoCompiler
	}
	out, err := exec.Command(gcc, question).Output()
	p := filepath.Clean(strings.TrimSpace(string(out)))
	if err != nil || !filepath.IsAbs(p) {
		return "", errNoCompiler
	}
	return p, nil
}

// addCompilerFolder adds gcc's own folder without C++ (see addCxx), link-time
// optimization and sanitizers, which are most of it.
func (t tree) addCompilerFolder(dir string) error {
	whole := tree{}
	if err := whole.addFolder(dir, "plugin"); err != nil {
		return err
	}
	for name, n := range whole {
		base := filepath.Base(name)
		heavy := base == "cc1plus" || base == "lto1" || strings.HasPrefix(base, "libstdc++") || strings.HasPrefix(base, "libsupc++") ||
			strings.Contains(base, "san.") || strings.Contains(base, "san_") || strings.HasPrefix(base, "libquadmath") || strings.HasPrefix(base, "libgomp")
		if !heavy {
			t[name] = n
		}
	}
	return nil
}

// addHeaders adds the C library's and the kernel's headers; some machines
// keep part of them in a folder named after their architecture.
func (t tree) addHeaders(dir, arch string) error {
	for _, base := range []string{dir, filepath.Join(dir, arch)} {
		for _, sub := range headerFolders {
			from := filepath.Join(base, sub)
			if _, err := os.Stat(from); err != nil {
				continue
			}
			if err := t.addFolder(from); err != nil {
				return err
			}
		}
		files, err := filepath.Glob(filepath.Join(base, "*.h"))
		if err != nil {
			return err
		}
		for _, from := range files {
			if err := t.addFile(clean(from), from); err != nil {
				return err
			}
		}
	}
	return nil
}
