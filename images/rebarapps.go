package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
)

// appFolders is where rebar3 looks for a project's own applications, unless
// project_app_dirs says otherwise.
var appFolders = []string{"apps/*", "lib/*", "."}

// maxAppFolders bounds the patterns that a project may name.
const maxAppFolders = 32

// rebarApps lists the folders of a project's own applications.
func rebarApps(root *os.Root, patterns []string) ([]string, error) {
	var out []string
	for _, pattern := range patterns {
		files, err := fs.Glob(root.FS(), path.Join(pattern, "src", "*.app.src"))
		if err != nil {
			return nil, fmt.Errorf("look for applications in %.80q: %w", pattern, err)
		}
		for _, file := range files {
			if dir := path.Dir(path.Dir(file)); !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out, nil
}

// readApps adds what the configurations of the project's own applications
// declare; rebar3 takes neither releases nor profiles from there.
func (p *project) readApps(root *os.Root) error {
	patterns := appFolders
	if p.folders != nil {
		patterns = p.folders
	}
	dirs, err := rebarApps(root, patterns)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if dir == "." {
			continue // read already
		}
		child, err := readTerms(root, path.Join(dir, rebarFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var declared project
		declared.read(child)
		p.deps = p.deps || declared.deps
		p.remotes = append(p.remotes, declared.remotes...)
	}
	if slices.Equal(dirs, []string{"."}) {
		return nil
	}
	p.apps, err = appNames(root, dirs)
	return err
}

// appNames are the applications that folders hold, by their .app.src.
func appNames(root *os.Root, dirs []string) (out []string, err error) {
	for _, dir := range dirs {
		files, err := fs.Glob(root.FS(), path.Join(dir, "src", "*.app.src"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name := strings.TrimSuffix(path.Base(file), ".app.src")
			if !plain.MatchString(name) {
				return nil, fmt.Errorf("read the project's applications: %.80q is not plain", name)
			}
			out = append(out, name)
		}
	}
	return out, nil
}

// namedFolders reads project_app_dirs; patterns that leave the project are
// left out.
func namedFolders(t term.Term) []string {
	list, ok := t.(term.List)
	if !ok || len(list.Elems) > maxAppFolders {
		return nil
	}
	out := []string{}
	for _, e := range list.Elems {
		if s, ok := term.Text(e); ok && fs.ValidPath(path.Clean(s)) {
			out = append(out, path.Clean(s))
		}
	}
	return out
}

// atoms writes names as Erlang's atoms, parted by commas.
func atoms(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, term.Format(term.Atom(n)))
	}
	return strings.Join(out, ", ")
}
