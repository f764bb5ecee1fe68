package images

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A linker finds the shared libraries of ELF files as ld.so(8) does, without
// its cache: DT_RPATH and DT_RUNPATH with $ORIGIN, then the standard folders.
type linker struct {
	standard []string // folders that ld.so searches without a cache
	extra    []string // folders of /etc/ld.so.conf, which need the cache
}

// A need is what one ELF file asks of the dynamic linker.
type need struct {
	interp string
	libs   []string
	paths  []string
	class  elf.Class
	arch   elf.Machine
	// versions that it needs of a library's symbols, "GLIBC_2.38", by library.
	versions map[string][]string
}

func newLinker(machine elf.Machine) linker {
	triplet := map[elf.Machine]string{
		elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu", elf.EM_RISCV: "riscv64-linux-gnu",
	}[machine]
	l := linker{extra: ldConf("/etc/ld.so.conf", 0)}
	if triplet != "" {
		l.standard = append(l.standard, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	l.standard = append(l.standard, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	return l
}

// closure adds to t every library that the given files need, directly and
// through each other, and their dynamic linker. The files themselves belong
// to the image already; those that are not ELF are passed over.
//
// A file may come from a stranger's build, so what it names is looked for
// among the files and in the system's folders only, and must be ELF itself.
func (t tree) closure(files ...string) error {
	own := map[string]bool{}
	for _, f := range files {
		own[f] = true
	}
	queue, seen := slices.Clone(files), map[string]bool{}
	for len(queue) > 0 {
		file := queue[0]
		queue = queue[1:]
		if seen[file] {
			continue
		}
		seen[file] = true
		want, err := needs(file)
		if errors.Is(err, errNotELF) {
			continue
		}
		if err != nil {
			return err
		}
		found, err := t.link(file, want, own)
		if err != nil {
			return err
		}
		queue = append(queue, found...)
	}
	return nil
}

// link adds what one file needs directly and returns the machine's paths of it.
func (t tree) link(file string, want need, own map[string]bool) ([]string, error) {
	l := newLinker(want.arch)
	var found []string
	if want.interp != "" {
		if !l.system(filepath.Dir(want.interp)) || !fits(want.interp, want) {
			return nil, fmt.Errorf("find the dynamic linker of %s: %.80q is not one of the system's", file, want.interp)
		}
		if err := t.addFile(clean(want.interp), want.interp); err != nil {
			return nil, err
		}
	}
	for _, lib := range want.libs {
		from, target, err := l.find(lib, file, want, own)
		if err != nil {
			return nil, err
		}
		if err := provides(from, want.versions[lib]); err != nil {
			return nil, fmt.Errorf("find library %s, needed by %s: %w", lib, file, err)
		}
		if !own[from] {
			if err := t.addFile(target, from); err != nil {
				return nil, err
			}
		}
		found = append(found, from)
	}
	return found, nil
}

// system reports whether dir is one that ld.so searches on this machine.
func (l linker) system(dir string) bool {
	return slices.Contains(l.standard, dir) || slices.Contains(l.extra, dir)
}

// find returns where the machine keeps lib and where an image must hold it.
func (l linker) find(lib, file string, want need, own map[string]bool) (from, target string, err error) {
	if strings.Contains(lib, "/") {
		return "", "", fmt.Errorf("find library %.80q, needed by %s: it is named by a path, not by its soname", lib, file)
	}
	for _, dir := range slices.Concat(want.paths, l.standard) {
		p := filepath.Join(dir, lib)
		if (own[p] || l.system(dir)) && fits(p, want) {
			return p, clean(p), nil
		}
	}
	// The image has no linker cache: what is found only through it moves to
	// a standard folder.
	for _, dir := range l.extra {
		if p := filepath.Join(dir, lib); fits(p, want) {
			return p, clean(filepath.Join(l.standard[0], lib)), nil
		}
	}
	return "", "", fmt.Errorf("find library %.80q, needed by %s: it is in none of the linker's folders; install the package that holds it", lib, file)
}

// fits reports whether p is an ELF file of the same class and machine.
func fits(p string, want need) bool {
	f, err := elf.Open(p)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened to read
	return f.Class == want.class && f.Machine == want.arch
}

var errNotELF = errors.New("not an ELF file")

// needs reads what file asks of the dynamic linker; errNotELF for a script.
func needs(file string) (need, error) {
	r, err := os.Open(file)
	if err != nil {
		return need{}, fmt.Errorf("read the libraries of %s: %w", file, err)
	}
	defer r.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != elf.ELFMAG {
		return need{}, errNotELF
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return need{}, fmt.Errorf("read the libraries of %s: %w", file, err)
	}
	out := need{interp: interp(f), class: f.Class, arch: f.Machine}
	if f.Type == elf.ET_REL || f.SectionByType(elf.SHT_DYNAMIC) == nil {
		return out, nil
	}
	if out.libs, err = f.ImportedLibraries(); err != nil {
		return need{}, fmt.Errorf("read the libraries of %s: %w", file, err)
	}
	out.paths = searchPaths(f, filepath.Dir(file))
	if out.versions, err = versionNeeds(f); err != nil {
		return need{}, fmt.Errorf("read the libraries of %s: %w", file, err)
	}
	return out, nil
}

// searchPaths reads DT_RUNPATH, or DT_RPATH when there is none (ld.so(8)).
func searchPaths(f *elf.File, origin string) []string {
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynString(tag)
		if err != nil || len(values) == 0 {
			continue
		}
		r := strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin)
		return slices.DeleteFunc(strings.Split(r.Replace(strings.Join(values, ":")), ":"), func(p string) bool {
			return !filepath.IsAbs(p)
		})
	}
	return nil
}

func interp(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return ""
			}
			return strings.TrimRight(string(b), "\x00")
		}
	}
	return ""
}

// ldConf reads the folders named by an ld.so.conf file and what it includes.
func ldConf(file string, depth int) []string {
	f, err := os.Open(file)
	if err != nil || depth > 8 {
		return nil
	}
	defer f.Close()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "include":
			pattern := fields[1]
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(file), pattern)
			}
			more, _ := filepath.Glob(pattern) // the pattern is the system's own
			for _, m := range more {
				out = append(out, ldConf(m, depth+1)...)
			}
		case len(fields) == 1 && filepath.IsAbs(fields[0]):
			out = append(out, fields[0])
		}
	}
	return out
}
