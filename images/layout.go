package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"beamsandbox/distribution/term"
)

// A layout is an unpacked release as rebar3 (relx) or mix made it: bin, lib,
// releases, and erts-VSN when the emulator came along.
type layout struct {
	root    *os.Root
	name    string   // "pulse"
	version string   // "1.0.0"
	erts    string   // "13.1.5"
	apps    []string // "pulse-1.0.0", as the .rel file has them
	carried bool     // the emulator is in it
	boot    string   // boot file below releases/VSN, "start.boot"
}

// findRelease opens the release in dir: at its top, or in the only folder
// there, as archives often have it.
func findRelease(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the unpacked release: %w", err)
	}
	if isDir(root, "releases") {
		return root, nil
	}
	defer root.Close() //nolint:errcheck // opened to read
	all, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the unpacked release: %w", err)
	}
	if len(all) == 1 && all[0].IsDir() && isDir(root, all[0].Name()+"/releases") {
		return root.OpenRoot(all[0].Name())
	}
	return nil, errors.New("look for a release: the archive has no folder releases: it must hold what 'rebar3 tar' or 'mix release' make")
}

func isDir(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}

// readLayout finds out what an unpacked release is.
func readLayout(root *os.Root) (layout, error) {
	l := layout{root: root}
	if err := l.readVersion(); err != nil {
		return layout{}, err
	}
	for _, part := range []string{l.version, l.erts} {
		if !plain.MatchString(part) {
			return layout{}, fmt.Errorf("read the release's version: %.80q is not plain", part)
		}
	}
	if err := l.readRel(); err != nil {
		return layout{}, err
	}
	l.carried = isDir(root, "erts-"+l.erts)
	for _, boot := range []string{"start.boot", l.name + ".boot"} {
		if info, err := root.Stat("releases/" + l.version + "/" + boot); err == nil && info.Mode().IsRegular() {
			l.boot = boot
			return l, nil
		}
	}
	return layout{}, fmt.Errorf("look for a boot file: releases/%s has neither start.boot nor %s.boot", l.version, l.name)
}

// readVersion reads start_erl.data, "ERTS RELEASE", or the permanent release
// of RELEASES, [{release, Name, Vsn, Erts, Apps, Status}] (release_handler(3)).
func (l *layout) readVersion() error {
	data, err := readConfig(l.root, "releases/start_erl.data")
	if err == nil {
		fields := strings.Fields(string(data))
		if len(fields) != 2 {
			return fmt.Errorf("read the release's version: start_erl.data holds %.80q", data)
		}
		l.erts, l.version = fields[0], fields[1]
		return nil
	}
	if data, err = readConfig(l.root, "releases/RELEASES"); err != nil {
		return fmt.Errorf("read the release's version: there is neither releases/start_erl.data nor releases/RELEASES: %w", err)
	}
	terms, err := term.Parse(data)
	if err != nil {
		return fmt.Errorf("read releases/RELEASES: %w", err)
	}
	for _, t := range terms {
		list, _ := t.(term.List)
		for _, e := range list.Elems {
			r, _ := e.(term.Tuple)
			if len(r) == 6 && r[0] == term.Atom("release") && (r[5] == term.Atom("permanent") || len(list.Elems) == 1) {
				l.version, _ = term.Text(r[2])
				l.erts, _ = term.Text(r[3])
				return nil
			}
		}
	}
	return errors.New("read releases/RELEASES: it names no permanent release")
}

// readRel reads releases/VSN/NAME.rel: {release, {Name, Vsn}, {erts, V}, Apps}
// (rel(4)). Further .rel files may lie beside it; one called start is a copy.
func (l *layout) readRel() error {
	dir := "releases/" + l.version
	all, err := fs.ReadDir(l.root.FS(), dir)
	if err != nil {
		return fmt.Errorf("read %s of the release: %w", dir, err)
	}
	for _, d := range all {
		base, is := strings.CutSuffix(d.Name(), ".rel")
		if !is {
			continue
		}
		data, err := readConfig(l.root, dir+"/"+d.Name())
		if err != nil {
			return fmt.Errorf("read %s of the release: %w", d.Name(), err)
		}
		if err := l.parseRel(data); err != nil {
			return fmt.Errorf("read %s of the release: %w", d.Name(), err)
		}
		if base == l.name {
			break
		}
	}
	if !plain.MatchString(l.name) {
		return fmt.Errorf("read the release's name: %s has no .rel file, or its name %.80q is not plain", dir, l.name)
	}
	return nil
}

func (l *layout) parseRel(data []byte) error {
	terms, err := term.Parse(data)
	if err != nil {
		return err
	}
	if len(terms) == 0 {
		return errors.New("it is empty")
	}
	rel, _ := terms[0].(term.Tuple)
	if len(rel) != 4 || rel[0] != term.Atom("release") {
		return errors.New("it is not {release, {Name, Version}, {erts, Version}, Applications}")
	}
	id, _ := rel[1].(term.Tuple)
	apps, _ := rel[3].(term.List)
	if len(id) != 2 {
		return errors.New("it names no release")
	}
	l.name, _ = term.Text(id[0])
	l.apps = nil
	for _, a := range apps.Elems {
		if t, ok := a.(term.Tuple); ok && len(t) >= 2 {
			name, _ := term.Text(t[0])
			version, _ := term.Text(t[1])
			if !plain.MatchString(name) || !plain.MatchString(version) {
				return fmt.Errorf("application %.40q %.40q is not plain", name, version)
			}
			l.apps = append(l.apps, name+"-"+version)
		}
	}
	return nil
}

// otpRelease is the release of Erlang/OTP that a version of ERTS belongs to:
// since OTP 23 their major numbers are 12 apart.
func otpRelease(erts string) string {
	major, _, _ := strings.Cut(erts, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return "unknown"
	}
	return strconv.Itoa(n + 12)
}

// adopt copies what a guest needs of the unpacked release below dir to the
// empty folder to. A release without an emulator, or without OTP's
// applications, gets the machine's when it was made for just these.
func adopt(dir, to string, o otp, log io.Writer) (Release, error) {
	root, err := findRelease(dir)
	if err != nil {
		return Release{}, err
	}
	defer root.Close() //nolint:errcheck // opened to read
	l, err := readLayout(root)
	if err != nil {
		return Release{}, err
	}
	rel := Release{Name: l.name, Version: l.version, ERTS: l.erts, Root: "/" + appRoot}
	note(log, "found release %s %s on ERTS %s", l.name, l.version, l.erts)
	c := collector{from: root, to: to, rel: rel, log: log}
	if err := fs.WalkDir(root.FS(), ".", c.visit); err != nil {
		return Release{}, fmt.Errorf("collect release %s: %w", rel.Name, err)
	}
	if err := l.complete(&c, o); err != nil {
		return Release{}, err
	}
	if rel.Apps, err = applications(to); err != nil {
		return Release{}, err
	}
	return rel, c.configure()
}

// complete adds the machine's part to a release that relies on it.
func (l layout) complete(c *collector, o otp) error {
	var missing []string
	for _, a := range l.apps {
		if !isDir(l.root, "lib/"+a) {
			missing = append(missing, a)
		}
	}
	if l.boot != "start.boot" {
		dir := filepath.Join(c.to, "releases", l.version)
		if err := os.Rename(filepath.Join(dir, l.boot), filepath.Join(dir, "start.boot")); err != nil {
			return fmt.Errorf("name the boot file of release %s: %w", l.name, err)
		}
	}
	if l.carried && len(missing) == 0 {
		return l.hasPrograms()
	}
	if l.erts != o.erts {
		return fmt.Errorf("release %s brings no emulator of its own: %w: it was made for ERTS %.20s, the machine's is %s; make it with include_erts", l.name, ErrOTP, l.erts, o.erts)
	}
	note(c.log, "took from the machine's Erlang: %s", strings.Join(append(c.rel.machinePrograms(l.carried), missing...), " "))
	return l.fromMachine(c, o, missing)
}

func (l layout) hasPrograms() error {
	for _, p := range (Release{ERTS: l.erts}).programs() {
		if info, err := l.root.Stat(p); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("look for %s in release %s: it is not there", p, l.name)
		}
	}
	return nil
}

func (r Release) machinePrograms(carried bool) []string {
	if carried {
		return nil
	}
	return r.programs()
}

func (l layout) fromMachine(c *collector, o otp, missing []string) error {
	machine, err := os.OpenRoot(o.root)
	if err != nil {
		return fmt.Errorf("open the machine's Erlang: %w", err)
	}
	defer machine.Close() //nolint:errcheck // opened to read
	own := *c
	own.from = machine
	for _, p := range c.rel.machinePrograms(l.carried) {
		if err := os.MkdirAll(filepath.Join(c.to, path.Dir(p)), 0o755); err != nil {
			return fmt.Errorf("add the emulator: %w", err)
		}
		if err := own.copy(p, 0o755); err != nil {
			return fmt.Errorf("add %s of the machine's Erlang: %w", p, err)
		}
	}
	for _, a := range missing {
		if !o.has(a) {
			return fmt.Errorf("release %s needs %s, which is neither in it nor in the machine's Erlang %s", l.name, a, o.root)
		}
		if err := os.MkdirAll(filepath.Join(c.to, "lib"), 0o755); err != nil {
			return fmt.Errorf("add %s of the machine's Erlang: %w", a, err)
		}
		if err := fs.WalkDir(machine.FS(), "lib/"+a, own.visit); err != nil {
			return fmt.Errorf("add %s of the machine's Erlang: %w", a, err)
		}
	}
	return nil
}

// applications lists the folders of a collected release's lib.
func applications(dir string) ([]string, error) {
	all, err := os.ReadDir(filepath.Join(dir, "lib"))
	if err != nil {
		return nil, fmt.Errorf("read the applications of the release: %w", err)
	}
	var out []string
	for _, d := range all {
		if !plain.MatchString(d.Name()) {
			return nil, fmt.Errorf("read the applications of the release: %.80q is not plain", d.Name())
		}
		out = append(out, d.Name())
	}
	slices.Sort(out)
	return out, nil
}

// unpackRelease fetches a release that needs no build and collects it in
// work/out/release.
func (s *Store) unpackRelease(ctx context.Context, f fetch, b build, work string, log io.Writer) (Release, error) {
	dir := filepath.Join(work, "guest", "src")
	if err := f.extract(ctx, b.recipe, b.revision, dir); err != nil {
		return Release{}, fmt.Errorf("fetch %s: %w", b.recipe.Name, err)
	}
	note(log, "fetched and verified %s", address(b.recipe))
	rel, err := adopt(dir, filepath.Join(work, "out", "release"), s.otp, log)
	if err != nil {
		return Release{}, fmt.Errorf("take over the release of %s: %w", b.recipe.Name, err)
	}
	return rel, nil
}
