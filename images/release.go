package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// appRoot is where a release is in a guest's image: ROOTDIR.
const appRoot = "app"

// droppedDirs are the folders of an application that nothing needs at run time.
var droppedDirs = []string{"src", "include", "doc", "docs", "examples", "test", "c_src"}

// collect copies what a guest needs of the release below from to the empty
// folder to: the emulator's four programs, the applications' code and priv
// folders, boot files and configuration. Nothing is followed out of from.
func collect(from *os.Root, to string, o otp, log io.Writer) (Release, error) {
	rel, err := readRelease(from, o)
	if err != nil {
		return Release{}, err
	}
	c := collector{from: from, to: to, rel: rel, log: log}
	if err := fs.WalkDir(from.FS(), ".", c.visit); err != nil {
		return Release{}, fmt.Errorf("collect release %s: %w", rel.Name, err)
	}
	return rel, c.configure()
}

// plain is what names and versions in a release may look like: they become
// parts of paths and of command lines.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$`)

// readRelease finds name, version and applications of an assembled release.
func readRelease(from *os.Root, o otp) (Release, error) {
	data, err := readConfig(from, "releases/start_erl.data")
	if err != nil {
		return Release{}, fmt.Errorf("read the release's version: %w", err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != 2 || !plain.MatchString(fields[1]) {
		return Release{}, fmt.Errorf("read the release's version: start_erl.data holds %.80q", data)
	}
	rel := Release{Name: path.Base(from.Name()), ERTS: fields[0], Version: fields[1], Root: "/" + appRoot}
	if !plain.MatchString(rel.Name) {
		return Release{}, fmt.Errorf("read the release's name: %.80q is not plain", rel.Name)
	}
	if rel.ERTS != o.erts {
		return Release{}, fmt.Errorf("release %s holds ERTS %.20q, the machine's Erlang is %s", rel.Name, rel.ERTS, o.erts)
	}
	for _, file := range append([]string{"releases/" + rel.Version + "/start.boot"}, rel.programs()...) {
		if _, err := from.Stat(file); err != nil {
			return Release{}, fmt.Errorf("look for %s in release %s: %w", file, rel.Name, err)
		}
	}
	libs, err := fs.ReadDir(from.FS(), "lib")
	if err != nil {
		return Release{}, fmt.Errorf("read the applications of release %s: %w", rel.Name, err)
	}
	for _, l := range libs {
		if !plain.MatchString(l.Name()) {
			return Release{}, fmt.Errorf("read the applications of release %s: %.80q is not plain", rel.Name, l.Name())
		}
		rel.Apps = append(rel.Apps, l.Name())
	}
	return rel, nil
}

// programs are the files of erts/bin that a guest needs.
func (r Release) programs() (out []string) {
	for _, p := range runtimePrograms {
		out = append(out, "erts-"+r.ERTS+"/bin/"+p)
	}
	return out
}

type collector struct {
	from  *os.Root
	to    string
	rel   Release
	log   io.Writer
	files int
	bytes int64
}

func (c *collector) visit(p string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if !c.wanted(p, d.IsDir()) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if d.IsDir() {
		return os.MkdirAll(filepath.Join(c.to, p), 0o755)
	}
	// Stat follows links inside the release and refuses those that leave it.
	info, err := c.from.Stat(p)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is neither a file nor a folder", p)
	}
	if c.files++; c.files > maxFiles {
		return fmt.Errorf("the release has more than %d files", maxFiles)
	}
	if c.bytes += info.Size(); c.bytes > maxBytes {
		return fmt.Errorf("the release has more than %d MB", maxBytes>>20)
	}
	return c.copy(p, info.Mode())
}

// wanted decides by the path alone; the rest of a release is for its
// scripts, which no guest has.
func (c *collector) wanted(p string, dir bool) bool {
	parts := strings.Split(p, "/")
	switch {
	case p == ".":
		return true
	case parts[0] == "bin" || parts[0] == "log":
		return false
	case parts[0] == "erts-"+c.rel.ERTS:
		return len(parts) == 1 || p == parts[0]+"/bin" || slices.Contains(c.rel.programs(), p)
	case parts[0] == "lib" && len(parts) == 3 && dir:
		return !slices.Contains(droppedDirs, parts[2])
	case parts[0] == "releases" && len(parts) == 2:
		return parts[1] == c.rel.Version
	case parts[0] == "releases" && len(parts) == 3:
		return !strings.HasSuffix(p, ".script") && !strings.HasSuffix(p, ".sh")
	}
	return true
}

func (c *collector) copy(p string, mode fs.FileMode) (err error) {
	r, err := c.from.Open(p)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(filepath.Join(c.to, p), os.O_WRONLY|os.O_CREATE|os.O_EXCL, normal(mode))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.LimitReader(r, maxBytes))
	return errors.Join(err, w.Close())
}

// configure leaves a sys.config and a vm.args in every release, or their
// templates where variables are left for the runtime to fill in, without the
// flags that the runtime owns.
func (c *collector) configure() error {
	c.noteScripts()
	dir := filepath.Join(c.to, "releases", c.rel.Version)
	config, err := readTemplate(dir, "sys.config", "[].\n")
	if err != nil {
		return err
	}
	args, err := readTemplate(dir, "vm.args", "")
	if err != nil {
		return err
	}
	var dropped []string
	if args.text, dropped = filterArgs(args.text); len(dropped) > 0 {
		note(c.log, "took %s out of vm.args: the runtime sets them", strings.Join(dropped, " "))
	}
	return errors.Join(config.write(dir), args.write(dir))
}

// A templated is a configuration file of a release, or the template of one.
type templated struct{ name, text string }

// readTemplate reads name.src, else name, and removes both: relx prefers the
// template. One without variables is no template.
func readTemplate(dir, name, missing string) (templated, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return templated{}, err
	}
	defer root.Close() //nolint:errcheck // opened to read
	for _, file := range []string{name + ".src", name} {
		data, err := readConfig(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return templated{}, err
		}
		for _, old := range []string{name + ".src", name} {
			if err := root.Remove(old); err == nil || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return templated{}, fmt.Errorf("replace %s of the release: %w", old, err)
		}
		if file != name && !strings.Contains(string(data), "${") {
			file = name
		}
		return templated{file, string(data)}, nil
	}
	return templated{name, missing}, nil
}

func (t templated) write(dir string) error {
	return os.WriteFile(filepath.Join(dir, t.name), []byte(t.text), 0o644)
}

// noteScripts tells of a release's env.sh that does more than comment: no
// shell runs it.
func (c *collector) noteScripts() {
	data, err := readConfig(c.from, "releases/"+c.rel.Version+"/env.sh")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			note(c.log, "env.sh is not run, no shell is in a guest: it begins with %.120q; put variables into env, in capital letters", line)
			return
		}
	}
}

// trees parts a collected release in dir in the layers of a guest's image:
// libraries, emulator and OTP, dependencies, the application with its
// configuration.
func trees(dir string, rel Release, o otp) ([]tree, error) {
	whole := tree{}
	if err := whole.addRelease(dir); err != nil {
		return nil, err
	}
	base, err := baseTree(whole)
	if err != nil {
		return nil, err
	}
	system, deps, app := tree{}, tree{}, tree{}
	for name, n := range whole {
		parts := strings.Split(name, "/")
		switch {
		case len(parts) == 1: // in the base already
		case strings.HasPrefix(parts[1], "erts-"):
			system[name] = n
		case parts[1] != "lib" || len(parts) < 3:
			app[name] = n
		case o.provides(parts[2]):
			system[name] = n
		case parts[2] == rel.Name+"-"+rel.Version:
			app[name] = n
		default:
			deps[name] = n
		}
	}
	if len(deps) == 0 {
		return []tree{base, system, app}, nil
	}
	return []tree{base, system, deps, app}, nil
}

func (t tree) addRelease(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read the release: %w", err)
		}
		rel, _ := filepath.Rel(dir, p) // p is below dir
		target := path.Join(appRoot, filepath.ToSlash(rel))
		if d.IsDir() {
			t.addDir(target)
			return nil
		}
		return t.addFile(target, p)
	})
}

// baseTree is the root file system without the release: the libraries that
// the release's programs and drivers need, and the few files of /etc.
func baseTree(release tree) (tree, error) {
	t := tree{}
	t.addMerged()
	addEtc(t)
	for _, dir := range []string{appRoot, "tmp", "proc", "dev", "run"} {
		t.addDir(dir)
	}
	return t, t.closure(release.sources()...)
}
