package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

// Set is what a tree asks for. A folder is in one of the two maps or in none.
type Set struct {
	Specs  map[Name]Spec
	Broken map[string]*LoadError // by folder
}

// LoadError is one folder that cannot be used. Apps that run from it stay as
// they are.
type LoadError struct {
	Dir  string // "pulse"
	File string // "apps/pulse/app.config", the folder when no file was read
	Name Name   // as the file has it, else the folder's name, "" when that is none
	Err  error  // of type Errors when the file was read
}

func (e *LoadError) Error() string {
	var list Errors
	if errors.As(e.Err, &list) {
		return list.Error()
	}
	return "load " + oneLine(e.File) + ": " + oneLine(e.Err.Error())
}

func (e *LoadError) Unwrap() error { return e.Err }

// Lines returns one line for each thing that is wrong.
func (e *LoadError) Lines() []string {
	var list Errors
	if errors.As(e.Err, &list) {
		return list.Lines()
	}
	return []string{e.Error()}
}

// LoadOptions are what a tree is held against besides the form of its files.
type LoadOptions struct {
	AllowPath  bool   // sources of type path, for sandboxctl run
	NodePrefix string // of guests that have none of their own
	Hostname   string // short name of the machine, for node names
	HostNode   string // no guest may be named like it; "" when it is not known
	// Shared says whether the operator's policy names a PubSub for an app. Nil:
	// nobody knows, and components may name the PubSub of another app.
	Shared func(name Name, pubsub string) bool
}

// Load reads the app of every folder directly under dir of tree. A folder
// without a configuration is passed over, and so are hidden ones. One that
// cannot be used goes to Broken and hides no other; the error is about dir
// itself.
func Load(tree fs.FS, dir string, opts LoadOptions) (Set, error) {
	entries, err := fs.ReadDir(tree, path.Clean(dir))
	if err != nil {
		return Set{}, fmt.Errorf("read apps folder %s: %w", dir, err)
	}
	l := loader{tree: tree, opts: opts, broken: map[string]*LoadError{}}
	for _, e := range entries {
		l.folder(path.Clean(dir), e)
	}
	l.clashes()
	l.pubSubs()
	return l.set(), nil
}

// LoadApp reads the app of one folder, with the checks that need no others. It
// is fs.ErrNotExist when the folder has no configuration.
func LoadApp(tree fs.FS, folder string, opts LoadOptions) (Spec, error) {
	l := loader{tree: tree, opts: opts, broken: map[string]*LoadError{}}
	d, err := l.load(path.Clean(folder))
	if err != nil {
		return Spec{}, err
	}
	if len(d.errs) > 0 {
		return Spec{}, d.errs
	}
	return d.spec, nil
}

type loader struct {
	tree   fs.FS
	opts   LoadOptions
	good   []*document // by folder
	broken map[string]*LoadError
}

func (l *loader) folder(dir string, e fs.DirEntry) {
	full := path.Join(dir, e.Name())
	switch {
	case e.Name()[0] == '.':
		return
	case e.Type()&fs.ModeSymlink != 0:
		l.fail(e.Name(), full, "", errors.New("symbolic links are not followed: make it a folder"))
		return
	case !e.IsDir():
		return
	}
	d, err := l.load(full)
	switch {
	case errors.Is(err, errNoConfig):
		return
	case err != nil:
		l.fail(e.Name(), full, "", err)
	case len(d.errs) > 0:
		l.fail(e.Name(), d.file, d.spec.Name, d.errs)
	default:
		l.good = append(l.good, d)
	}
}

// fail files a folder under Broken.
func (l *loader) fail(dir, file string, name Name, err error) {
	if name == "" && validName(dir) {
		name = Name(dir)
	}
	l.broken[dir] = &LoadError{Dir: dir, File: file, Name: name, Err: err}
}

// errNoConfig says that a folder is no app's.
var errNoConfig = fmt.Errorf("no configuration: %w", fs.ErrNotExist)

// load reads the configuration of one folder; what is wrong inside the file is
// in the document.
func (l *loader) load(folder string) (*document, error) {
	entries, err := fs.ReadDir(l.tree, folder)
	if err != nil {
		return nil, err
	}
	for _, name := range configNames() {
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name && !e.IsDir() })
		if i < 0 {
			continue
		}
		file := path.Join(folder, name)
		src, err := readFile(l.tree, file, entries[i])
		if err != nil {
			return nil, err
		}
		d := parse(src, FormatOf(name), file)
		d.spec.Dir = path.Base(folder)
		l.check(d)
		return d, nil
	}
	return nil, fmt.Errorf("%s: %w", folder, errNoConfig)
}

// readFile reads a regular file of bounded size.
func readFile(tree fs.FS, file string, e fs.DirEntry) ([]byte, error) {
	if !e.Type().IsRegular() {
		return nil, fmt.Errorf("read %s: only regular files are read, no links or devices", file)
	}
	f, err := tree.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(src) > maxFile {
		return nil, fmt.Errorf("read %s: larger than 1 MiB", file)
	}
	return src, nil
}

// check holds one document against the options.
func (l *loader) check(d *document) {
	if d.spec.Source.Type == SourcePath && !l.opts.AllowPath {
		d.failFound(d.places["source.type"], "source.type", "one of hex, git, release, mesh, image", "path", "only sandboxctl run may use it")
	}
	if d.spec.Isolation == VM && l.opts.HostNode != "" && d.spec.Name != "" && l.node(d) == l.opts.HostNode {
		d.failFound(d.places["name"], "name", "a node name of its own", l.node(d)+", which is the host VM", "set vm_config.node_prefix")
	}
}

func (l *loader) node(d *document) string {
	return d.spec.Node(l.opts.Hostname, l.opts.NodePrefix)
}

// set sorts the documents into the two maps.
func (l *loader) set() Set {
	s := Set{Specs: map[Name]Spec{}, Broken: l.broken}
	for _, d := range l.good {
		if len(d.errs) > 0 {
			l.fail(d.spec.Dir, d.file, d.spec.Name, d.errs)
			continue
		}
		s.Specs[d.spec.Name] = d.spec
	}
	return s
}
