package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// mixFile and mixLock are what a mix project is known by.
const (
	mixFile = "mix.exs"
	mixLock = "mix.lock"
)

// mix.exs is code and runs in the builder alone. On the host its text is
// searched for the few things that a build needs to know before.
var (
	mixGit     = regexp.MustCompile(`(?:\{:git,|\bgit:)\s*"([^"\\]+)"`)
	mixGithub  = regexp.MustCompile(`\bgithub:\s*"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)"`)
	mixRelease = regexp.MustCompile(`(?m)^[^#\n]*\breleases:`)
	mixApps    = regexp.MustCompile(`(?m)^[^#\n]*\bapps_path:\s*"([A-Za-z0-9_./-]+)"`)
	mixApp     = regexp.MustCompile(`^[a-z][A-Za-z0-9_]*$`)
)

// mixRemotes finds the addresses of git dependencies in mix.exs or mix.lock.
func mixRemotes(text string) (out []string) {
	for _, m := range mixGit.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	for _, m := range mixGithub.FindAllStringSubmatch(text, -1) {
		out = append(out, "https://github.com/"+m[1]+".git")
	}
	return out
}

// mixReleases reports whether mix.exs names releases.
func mixReleases(root *os.Root) bool {
	text, err := readConfig(root, mixFile)
	return err == nil && mixRelease.Match(text)
}

// namesRelease reports whether what follows releases: has an entry for app.
func namesRelease(text, app string) bool {
	at := mixRelease.FindStringIndex(text)
	if at == nil {
		return false
	}
	entry := regexp.MustCompile(`(\b` + regexp.QuoteMeta(app) + `:\s|\{:` + regexp.QuoteMeta(app) + `,)`)
	return entry.MatchString(text[at[1]:])
}

// prepareMix reads a mix project and adds what a release of an umbrella
// needs.
func prepareMix(root *os.Root, r Recipe, log io.Writer) (project, error) {
	text, err := readConfig(root, mixFile)
	if err != nil {
		return project{}, err
	}
	p := project{tool: mixTool, release: mixRelease.Match(text), remotes: mixRemotes(string(text))}
	apps, err := umbrella(root, string(text))
	if err != nil {
		return project{}, err
	}
	for _, file := range append([]string{mixLock}, manifests(apps)...) {
		text, err := readConfig(root, file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return project{}, err
		}
		p.remotes = append(p.remotes, mixRemotes(string(text))...)
	}
	if p.release && namesRelease(string(text), string(r.Name)) {
		p.named = string(r.Name)
	}
	if len(apps) == 0 || p.release {
		return p, nil
	}
	if err := root.WriteFile(umbrellaFile, umbrellaProject(r, apps), 0o644); err != nil {
		return project{}, fmt.Errorf("add a release to the umbrella: %w", err)
	}
	note(log, "added a release of %s to the umbrella, which names none", baseNames(apps))
	p.env = append(p.env, "MIX_EXS="+umbrellaFile)
	return p, nil
}

// umbrella lists the folders of an umbrella's applications, nil when the
// project is none.
func umbrella(root *os.Root, text string) ([]string, error) {
	m := mixApps.FindStringSubmatch(text)
	if m == nil {
		return nil, nil
	}
	dir := path.Clean(m[1])
	all, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return nil, fmt.Errorf("read the umbrella's applications: %w", err)
	}
	var out []string
	for _, d := range all {
		if _, err := root.Stat(path.Join(dir, d.Name(), mixFile)); err == nil && mixApp.MatchString(d.Name()) {
			out = append(out, path.Join(dir, d.Name()))
		}
	}
	return out, nil
}

func manifests(apps []string) (out []string) {
	for _, dir := range apps {
		out = append(out, path.Join(dir, mixFile))
	}
	return out
}

func baseNames(apps []string) string {
	names := slices.Clone(apps)
	for i, dir := range apps {
		names[i] = path.Base(dir)
	}
	return strings.Join(names, ", ")
}

// umbrellaFile is the project that stands for an umbrella without releases.
const umbrellaFile = "beamsandbox_umbrella.exs"

// umbrellaProject is the umbrella's own project with a release of all its
// applications: mix makes none of an umbrella by itself.
func umbrellaProject(r Recipe, apps []string) []byte {
	var all []string
	for _, dir := range apps {
		all = append(all, path.Base(dir)+": :permanent")
	}
	return fmt.Appendf(nil, `Code.compile_file("mix.exs")
umbrella = Mix.Project.get!()
Mix.Project.pop()
defmodule BeamsandboxUmbrella.MixProject do
  @umbrella umbrella
  use Mix.Project
  def project do
    release = [version: %q, applications: [%s]]
    Keyword.put(@umbrella.project(), :releases, [{:%q, release}])
  end
end
`, releaseVersion(r), strings.Join(all, ", "), string(r.Name))
}
