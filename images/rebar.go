package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
)

// rebarFile and rebarLock are what a rebar3 project is known by.
const (
	rebarFile = "rebar.config"
	rebarLock = "rebar.lock"
)

// maxConfig bounds the configuration files that are parsed, in bytes.
const maxConfig = 1 << 20

// readProject reads what rebar.config and rebar.lock say without being run:
// rebar.config.script is code, and runs in the builder alone.
func readProject(root *os.Root) (project, error) {
	var p project
	for _, name := range []string{rebarFile, rebarLock} {
		terms, err := readTerms(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, err
		}
		p.read(terms)
	}
	if _, err := root.Stat("relx.config"); err == nil {
		p.release = true
	}
	return p, p.readApps(root)
}

// readTerms reads a configuration file of Erlang terms.
func readTerms(root *os.Root, name string) ([]term.Term, error) {
	data, err := readConfig(root, name)
	if err != nil {
		return nil, err
	}
	terms, err := term.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return terms, nil
}

// readConfig reads a file that a stranger wrote and that must not be long.
func readConfig(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("read %s: it is not a file of at most %d bytes", name, maxConfig)
	}
	data, err := root.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func (p *project) read(terms []term.Term) {
	for _, t := range terms {
		if pair, ok := t.(term.Tuple); ok && len(pair) == 2 {
			switch pair[0] {
			case term.Atom("relx"):
				p.release = true
			case term.Atom("deps"):
				list, ok := pair[1].(term.List)
				p.deps = ok && len(list.Elems) > 0
			case term.Atom("project_app_dirs"):
				p.folders = namedFolders(pair[1])
			case term.Atom("profiles"):
				p.profiles = true
				p.release = p.release || prodHasRelease(pair[1])
			}
		}
		p.remotes = append(p.remotes, gitRemotes(t)...)
	}
}

// prodHasRelease reports whether profile prod names a release of its own.
func prodHasRelease(profiles term.Term) bool {
	prod, ok := lookupKey(profiles, "prod")
	if !ok {
		return false
	}
	relx, ok := lookupKey(prod, "relx")
	if !ok {
		return false
	}
	_, ok = lookupKey(relx, "release")
	return ok
}

func lookupKey(t term.Term, key term.Atom) (term.Term, bool) {
	list, ok := t.(term.List)
	if !ok {
		return nil, false
	}
	for _, e := range list.Elems {
		if pair, ok := e.(term.Tuple); ok && len(pair) >= 2 && pair[0] == key {
			return pair[1], true
		}
	}
	return nil, false
}

// gitRemotes finds {git, URL, …} and {git_subdir, URL, …} wherever rebar3
// lets them stand: deps, plugins, profiles, overrides, the lock.
func gitRemotes(t term.Term) []string {
	var out []string
	switch t := t.(type) {
	case term.Tuple:
		if len(t) >= 2 && (t[0] == term.Atom("git") || t[0] == term.Atom("git_subdir")) {
			if url, ok := term.Text(t[1]); ok {
				return []string{url}
			}
		}
		for _, e := range t {
			out = append(out, gitRemotes(e)...)
		}
	case term.List:
		for _, e := range t.Elems {
			out = append(out, gitRemotes(e)...)
		}
	}
	return out
}

// overlay is what is added to a rebar.config that names no release of its
// own; the application is then the release, or all of an umbrella's are.
func (p project) overlay(name, version string) string {
	apps := p.apps
	if apps == nil {
		apps = []string{name}
	}
	switch {
	case !p.release:
		return fmt.Sprintf("\n%%%% Added by the builder: the source names no release.\n"+
			"{relx, [{release, {%s, %q}, [%s]}, {mode, prod}]}.\n", name, version, atoms(apps))
	case !p.profiles:
		// rebar3's own advice for prod: emulator included, debug info stripped.
		return "\n%% Added by the builder: the source has no profile prod.\n" +
			"{profiles, [{prod, [{relx, [{mode, prod}]}]}]}.\n"
	}
	return ""
}

// owned are the emulator flags that the runtime sets by itself; a vm.args
// that sets them too would fight it.
var owned = []string{
	"-name", "-sname", "-setcookie", "-hidden", "-heart", "-detached", "-remsh", "-boot", "-config", "-args_file",
	"-mode", "-start_epmd", "-erl_epmd_port", "-epmd_module", "-proto_dist", "-ssl_dist_optfile", "-ssl_dist_opt", "-noshell", "-noinput", "-rsh",
}

// filterArgs takes comments and the flags that the runtime owns out of a
// vm.args, one flag a line, and returns those it dropped, without values.
func filterArgs(args string) (kept string, dropped []string) {
	var out strings.Builder
	for _, flag := range flags(args) {
		if slices.Contains(owned, flag[0]) || (flag[0] == "-kernel" && len(flag) > 1 && strings.HasPrefix(flag[1], "inet_dist_")) {
			dropped = append(dropped, flag[0])
			continue
		}
		out.WriteString(strings.Join(flag, " ") + "\n")
	}
	return out.String(), dropped
}

// flags parts a vm.args in flags with their values. A value begins neither
// with + nor with -, or follows as a negative number; quotes are kept.
func flags(args string) (out [][]string) {
	for line := range strings.Lines(args) {
		for _, word := range words(line) {
			starts := len(word) > 1 && (word[0] == '-' || word[0] == '+') && (word[1] < '0' || word[1] > '9')
			if starts || len(out) == 0 {
				out = append(out, nil)
			}
			out[len(out)-1] = append(out[len(out)-1], word)
		}
	}
	return out
}

// words splits at blanks outside of quotes, up to a comment.
func words(line string) (out []string) {
	var word strings.Builder
	var quote rune
	flush := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for _, c := range line {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote = c
			word.WriteRune(c)
		case c == '#':
			flush()
			return out
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			flush()
		default:
			word.WriteRune(c)
		}
	}
	flush()
	return out
}
