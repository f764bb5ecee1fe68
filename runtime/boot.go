package runtime

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/runtime-spec/specs-go"

	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// What a release's own start script does before it starts the emulator, done
// here, since no shell is in the image: fill in templates, and give Elixir's
// config providers a copy of sys.config that they may write.

// guestWritable is a folder of the guest's tmpfs that it may write to.
const guestWritable = "/run/config"

// maxBootFile bounds what is read of a guest's image.
const maxBootFile = 1 << 20

// files of a release that a guest boots with when the image has them.
type releaseFiles struct {
	sysConfig, vmArgs bool
	// filledConfig and filledArgs: made from a template, in guestRun.
	filledConfig, filledArgs bool
	// provided: config providers write to sys.config, so it is in guestWritable.
	provided bool
	elixir   bool // made by mix
}

// configPath is the guest's sys.config.
func (h releaseFiles) configPath(r Release) string {
	switch {
	case h.provided:
		return path.Join(guestWritable, "sys.config")
	case h.filledConfig:
		return path.Join(guestRun, "sys.config")
	}
	return r.config()
}

// argsPath is the guest's vm.args.
func (h releaseFiles) argsPath(r Release) string {
	if h.filledArgs {
		return path.Join(guestRun, "vm.args")
	}
	return r.vmArgs()
}

// prepare completes the walls of a guest by what its image holds: a release
// of ours, or a command of its own.
func (t *Tasks) prepare(c Config, w *walls, mounts []mount.Mount) error {
	if c.Release.Entry != nil {
		w.args, w.env, w.dir = c.Release.Entry.Args, entryEnvironment(c, goruntime.NumCPU()), c.Release.Entry.Dir
		return nil
	}
	has, files, err := bootFiles(c, func(p string) ([]byte, bool) { return imageRead(mounts, p) })
	if err != nil {
		return err
	}
	state := t.state(string(c.Name))
	for _, f := range files {
		if err := state.write(f, w.uid()); err != nil {
			return err
		}
	}
	if has.provided {
		w.mounts = append(slices.Clip(w.mounts), state.bindWritable("config", guestWritable))
	}
	w.args, w.env = command(c, goruntime.NumCPU(), has), environment(c, has)
	return nil
}

// bootFiles looks at what the image holds, through read, and returns the files
// that the guest needs besides.
func bootFiles(c Config, read func(path string) ([]byte, bool)) (releaseFiles, []guestFile, error) {
	var has releaseFiles
	var files []guestFile
	r := c.Release
	if err := checkTLS(c, read); err != nil {
		return has, nil, err
	}
	fill := func(name string) ([]byte, bool, error) {
		text, ok := read(path.Join(r.dir(), name+".src"))
		if !ok {
			return nil, false, nil
		}
		out, err := fillIn(name+".src", text, environment(c, releaseFiles{sysConfig: true}))
		files = append(files, guestFile{path: "run/" + name, data: out, owned: true})
		return out, true, err
	}
	var err error
	config, found := read(r.config())
	has.sysConfig = found
	if filled, ok, fillErr := fill("sys.config"); ok {
		config, has.sysConfig, has.filledConfig, err = filled, true, true, fillErr
	}
	if err != nil {
		return releaseFiles{}, nil, err
	}
	_, has.vmArgs = read(r.vmArgs())
	if _, ok, fillErr := fill("vm.args"); ok {
		has.vmArgs, has.filledArgs, err = true, true, fillErr
	}
	if text, ok := merged(config, c.Name, c.Env); ok && len(c.Env) > 0 && inMemory(config) && !wantsProviders(config) {
		has.filledConfig = true
		files = append(files, guestFile{path: "run/sys.config", data: text, owned: true})
	}
	if wantsProviders(config) {
		has.provided = true
		files = append(files, guestFile{path: "config/sys.config", data: config, owned: true, writable: true})
	}
	_, has.elixir = read(path.Join(r.dir(), "elixir"))
	return has, files, err
}

// wantsProviders: mix writes this into the comments at the top of a sys.config
// that the release replaces while it boots (Mix.Release, Config.Provider).
func wantsProviders(config []byte) bool {
	for line := range bytes.Lines(config) {
		if !bytes.HasPrefix(line, []byte("%%")) {
			return false
		}
		if bytes.Contains(line, []byte("RUNTIME_CONFIG=true")) {
			return true
		}
	}
	return false
}

// inMemory: Elixir's config providers put all of sys.config into the
// applications' environments once more while the release boots, over what
// came from another file.
func inMemory(config []byte) bool { return bytes.Contains(config, []byte("config_provider_init")) }

// merged is a sys.config with the app's environment in it; ok is false when
// it holds what is not read here, such as a fun.
func merged(config []byte, name app.Name, env map[string]term.Term) (text []byte, ok bool) {
	terms, err := term.Parse(config)
	if err != nil || len(terms) != 1 {
		return nil, false
	}
	apps, proper := terms[0].(term.List)
	if !proper || apps.Tail != nil {
		return nil, false
	}
	var own []term.Term
	var out term.List
	for _, t := range apps.Elems {
		pair, _ := t.(term.Tuple)
		if len(pair) != 2 || pair[0] != term.Atom(name) {
			out.Elems = append(out.Elems, t)
			continue
		}
		list, _ := pair[1].(term.List)
		for _, p := range list.Elems {
			kv, _ := p.(term.Tuple)
			key, _ := keyOf(kv)
			if _, replaced := env[key]; !replaced {
				own = append(own, p)
			}
		}
	}
	for _, key := range sortedKeys(env) {
		if !app.IsVariable(key) {
			own = append(own, term.Tuple{term.Atom(key), env[key]})
		}
	}
	out.Elems = append(out.Elems, term.Tuple{term.Atom(name), term.List{Elems: own}})
	return term.WriteConsult(out), true
}

func keyOf(pair term.Tuple) (string, bool) {
	if len(pair) != 2 {
		return "", false
	}
	key, ok := pair[0].(term.Atom)
	return string(key), ok
}

// template matches ${VAR} and ${VAR:-default}, as relx's scripts do.
var template = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// fillIn replaces the variables of a template by env ("KEY=value"). relx
// leaves nothing for one that is not set, which breaks far from its cause.
func fillIn(name string, text []byte, env []string) ([]byte, error) {
	values := map[string]string{}
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		values[key] = value
	}
	var missing string
	out := template.ReplaceAllFunc(text, func(match []byte) []byte {
		parts := template.FindSubmatch(match)
		value, set := values[string(parts[1])]
		switch {
		case set && value != "":
			return []byte(value)
		case parts[2] == nil && !set && missing == "":
			missing = string(parts[1])
		}
		return parts[3]
	})
	if missing != "" {
		return nil, fmt.Errorf("fill in %s: ${%s} is not set: put %s into env, or write ${%s:-value}", name, missing, missing, missing)
	}
	return out, nil
}

// variables are the keys of env that are the guest's environment variables,
// as "KEY=value", in order.
func variables(env map[string]term.Term) (out []string) {
	for _, key := range sortedKeys(env) {
		if !app.IsVariable(key) {
			continue
		}
		if text, ok := app.VariableText(env[key]); ok {
			out = append(out, key+"="+text)
		}
	}
	return out
}

// entryEnvironment is what a command that an image brings is given: its own
// variables, then ours, then the app's. BEAM takes its wiring from
// ERL_ZFLAGS (erl(1)), whatever script starts it.
func entryEnvironment(c Config, cpus int) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, kv := range c.Release.Entry.Env {
		key, _, _ := strings.Cut(kv, "=")
		if !slices.Contains([]string{"HOME", "RELEASE_COOKIE", "ERL_ZFLAGS", "ERL_EPMD_PORT"}, key) && !strings.HasPrefix(key, "BEAMSANDBOX_") {
			env = append(env, kv)
		}
	}
	env = append(env, "HOME="+guestHome, "ERL_CRASH_DUMP_SECONDS=0", "RELEASE_TMP=/tmp", "RELX_OUT_FILE_PATH=/tmp")
	flags := append([]string{"-config", path.Join(guestRun, strings.TrimSuffix(guestConfig, ".config"))}, schedulers(c.VM, cpus)...)
	distribution := distributionFlags(c)
	if len(distribution) > 0 {
		env = append(env, "RELEASE_NODE="+c.Node, "RELEASE_DISTRIBUTION=sname", "NODE_NAME="+c.Node)
		env = append(env, nodeVariables(c)...)
		if !startsEmulator(c.Release.Entry.Args) {
			distribution = distribution[2:] // its own script names the node
		}
	}
	flags = append(append(flags, distribution...), c.VM.ExtraArgs...)
	env = append(env, "ERL_ZFLAGS="+strings.Join(quoteAll(flags), " "))
	return append(env, variables(c.Env)...)
}

// nodeVariables tell a program that is no BEAM what the emulator has from its
// flags: docs/images.md, "A guest that is no BEAM", is the contract.
func nodeVariables(c Config) []string {
	env := []string{
		"BEAMSANDBOX_APP=" + string(c.Name), "BEAMSANDBOX_NODE=" + c.Node,
		"BEAMSANDBOX_COOKIE_FILE=" + path.Join(guestHome, ".erlang.cookie"),
		fmt.Sprintf("BEAMSANDBOX_EPMD=127.0.0.1:%d", policy.EPMDPort),
	}
	if c.Guest.IsValid() && c.DistPort != 0 {
		env = append(env, "BEAMSANDBOX_LISTEN="+netip.AddrPortFrom(c.Guest, c.DistPort).String())
	}
	if c.TLS != nil {
		env = append(env, "BEAMSANDBOX_TLS_CA="+path.Join(guestRun, tlsCA), "BEAMSANDBOX_TLS_NODE="+path.Join(guestRun, tlsNode))
	}
	return env
}

// startsEmulator: the command is erl itself and names no node.
func startsEmulator(args []string) bool {
	named := func(a string) bool { return slices.Contains([]string{"-sname", "-name", "--sname", "--name"}, a) }
	return slices.Contains([]string{"erl", "erlexec", "elixir", "iex"}, path.Base(args[0])) && !slices.ContainsFunc(args, named)
}

// quoteAll quotes as erlexec reads ERL_ZFLAGS: blanks part words, outside of
// double quotes.
func quoteAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsAny(w, " \t\"'\\") {
			out[i] = strconv.Quote(w)
		}
	}
	return out
}

// imageRead returns the content of a small file in the layers that mounts
// stack, the uppermost first.
func imageRead(mounts []mount.Mount, path string) ([]byte, bool) {
	for dir := range layers(mounts) {
		if data, ok := readInTree(dir, path); ok {
			return data, true
		}
	}
	return nil, false
}

// readInTree reads path below dir; a link cannot lead the read outside.
func readInTree(dir, path string) ([]byte, bool) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, false
	}
	defer root.Close()
	name := strings.TrimPrefix(filepath.Clean(path), "/")
	if info, err := root.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() > maxBootFile {
		return nil, false
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBootFile))
	return data, err == nil
}

// bindWritable shows a folder of the state folder at target, for the guest to
// write to; the tmpfs bounds it.
func (d stateDir) bindWritable(path, target string) specs.Mount {
	m := d.bind(path, target)
	m.Options = []string{"bind", "rw", "nosuid", "nodev", "noexec"}
	return m
}
