package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A project is what the host needs to know of a source before it is built.
type project struct {
	tool     tool
	remotes  []string // addresses of git dependencies and plugins
	release  bool     // the project describes a release itself
	profiles bool     // rebar3: there is a section profiles
	deps     bool     // rebar3: there are dependencies
	folders  []string // rebar3: where its own applications are, nil: in the usual places
	apps     []string // rebar3: the applications of an umbrella, nil when it is none
	locked   bool     // there is a lock file
	named    string   // mix: the release to make when there may be several
	env      []string // for this project alone
}

// A tool makes a release of a project inside the builder.
type tool struct {
	name    string
	lock    string // its lock file
	builder string // the image that holds it
	args    func(p project) []string
}

var (
	rebarTool = tool{name: "rebar3", lock: rebarLock, builder: erlangBuilder, args: func(p project) []string {
		release := []string{"/usr/bin/escript", "/" + rebarPath, "as", "prod", "release", "-d", "false", "-i", "true"}
		if !p.deps || p.locked {
			return release
		}
		// rebar3 writes no lock file under a profile.
		return append([]string{"/usr/bin/sh", "-c", `"$0" "$1" lock && exec "$0" "$@"`}, release...)
	}}
	mixTool = tool{name: "mix", lock: mixLock, builder: elixirBuilder, args: func(p project) []string {
		args := []string{"/" + mixPath, "do", "deps.get", "--only", "prod,", "release"}
		if p.named != "" {
			args = append(args, p.named)
		}
		return append(args, "--overwrite")
	}}
)

// prepare finds out how the source in dir is built, and adds what a release
// needs.
func prepare(dir string, r Recipe, log io.Writer) (project, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return project{}, fmt.Errorf("open the source: %w", err)
	}
	defer root.Close() //nolint:errcheck // opened to read
	if version := releaseVersion(r); !plain.MatchString(version) {
		return project{}, fmt.Errorf("version %.80q is not plain: use letters, digits, dots, + and -", version)
	}
	switch {
	case there(root, rebarFile):
		return prepareRebar(root, r, log)
	case there(root, mixFile):
		return prepareMix(root, r, log)
	}
	apps, err := rebarApps(root, appFolders)
	if err != nil || len(apps) == 0 {
		return project{}, errors.New("the source has neither rebar.config nor mix.exs: only rebar3 and mix projects are built")
	}
	if err := root.WriteFile(rebarFile, nil, 0o644); err != nil {
		return project{}, fmt.Errorf("add rebar.config: %w", err)
	}
	return prepareRebar(root, r, log)
}

func there(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

func prepareRebar(root *os.Root, r Recipe, log io.Writer) (project, error) {
	p, err := readProject(root)
	if err != nil {
		return project{}, err
	}
	p.tool = rebarTool
	overlay := p.overlay(string(r.Name), releaseVersion(r))
	if overlay == "" {
		return p, nil
	}
	f, err := root.OpenFile(rebarFile, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return project{}, fmt.Errorf("add a release to rebar.config: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(overlay); err != nil {
		return project{}, fmt.Errorf("add a release to rebar.config: %w", err)
	}
	note(log, "added to rebar.config:%s", strings.TrimRight(overlay, "\n"))
	return p, nil
}

// furnish writes the tools' own configuration into the builder's home.
func (s *Store) furnish(home string) error {
	for name, text := range map[string][]byte{
		".config/rebar3/rebar.config": s.hexes.rebarConfig(), ".hex/hex.config": s.hexes.mixConfig(),
	} {
		file := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("furnish the builder: %w", err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("furnish the builder: %w", err)
		}
	}
	return nil
}
