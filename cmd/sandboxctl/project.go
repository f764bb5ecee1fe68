package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/git"
)

// project is what sandboxctl run found out about an application, and what
// its flags add.
type project struct {
	name, version string
	source        term.Map
	vm            term.Map
	env           term.Map
	port          uint16
	ssh           sshFiles // for a source over ssh
}

// describe finds the application in a folder or behind a git URL; scratch is
// a folder for the clone.
func describe(ctx context.Context, source string, o runOptions, scratch string) (project, error) {
	p, tree, err := locate(ctx, source, o, scratch)
	if err != nil {
		return project{}, err
	}
	p.name, p.version, err = application(tree, o.name)
	if err != nil {
		return project{}, fmt.Errorf("%s: %w", source, err)
	}
	return p, p.apply(o)
}

// locate says where the source is, in app.config's words, and opens its files.
func locate(ctx context.Context, source string, o runOptions, scratch string) (project, fs.FS, error) {
	if i, err := os.Stat(source); err == nil && i.IsDir() {
		dir, err := filepath.Abs(source)
		if err != nil {
			return project{}, nil, err
		}
		if o.ref != "" {
			return project{}, nil, usage(errors.New("--ref goes with a git URL, not with a folder"))
		}
		if _, err := sshFor("", o.ssh); err != nil {
			return project{}, nil, err
		}
		return project{source: sourceMap("path", "path", dir, "")}, os.DirFS(dir), nil
	}
	if !strings.Contains(source, "://") && !strings.Contains(source, "@") {
		return project{}, nil, usage(fmt.Errorf("%s is neither a folder nor a git URL", source))
	}
	files, err := sshFor(source, o.ssh)
	if err != nil {
		return project{}, nil, err
	}
	repo, err := git.Open(git.Config{URL: source, Branch: o.ref, Dir: scratch, SSHKey: files.key, KnownHosts: files.knownHosts})
	if err != nil {
		return project{}, nil, err
	}
	c, err := repo.Fetch(ctx)
	if err != nil {
		return project{}, nil, err
	}
	return project{source: sourceMap("git", "url", source, c.Hash), ssh: files}, c.Tree, nil
}

func sourceMap(kind, key, place, ref string) term.Map {
	m := term.Map{{Key: term.Atom("type"), Value: term.Atom(kind)}, {Key: term.Atom(key), Value: term.Binary(place)}}
	if ref != "" {
		m = append(m, term.Pair{Key: term.Atom("ref"), Value: term.Binary(ref)})
	}
	return m
}

// application reads the project's *.app.src files: the only one, or the one
// called want.
func application(tree fs.FS, want string) (name, version string, err error) {
	var files []string
	for _, pattern := range []string{"src/*.app.src", "apps/*/src/*.app.src"} {
		found, err := fs.Glob(tree, pattern)
		if err != nil {
			return "", "", err
		}
		files = append(files, found...)
	}
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".app.src")
		if want == name || (want == "" && len(files) == 1) {
			version, err := vsn(tree, f)
			return name, version, err
		}
	}
	switch {
	case len(files) == 0:
		return "", "", errors.New("no src/*.app.src: run takes a rebar3 project")
	case want == "":
		return "", "", fmt.Errorf("%d applications; choose one with --name", len(files))
	default:
		return "", "", fmt.Errorf("no application %s there", want)
	}
}

// vsn is the version in an .app.src: {application, Name, [{vsn, "1.0.0"}, …]}.
func vsn(tree fs.FS, file string) (string, error) {
	src, err := fs.ReadFile(tree, file)
	if err != nil {
		return "", err
	}
	terms, err := term.Parse(src)
	if err != nil {
		return "", fmt.Errorf("%s:%w", file, err)
	}
	if len(terms) == 1 {
		if t, ok := terms[0].(term.Tuple); ok && len(t) == 3 {
			return keyed(t[2], "vsn"), nil
		}
	}
	return "", fmt.Errorf("%s: expected {application, Name, Keys}", file)
}

// keyed is a text in a proplist; "0.0.0" where the build tool decides.
func keyed(list term.Term, key string) string {
	pairs, _ := term.Proplist(list)
	for _, p := range pairs {
		if p.Key != term.Term(term.Atom(key)) {
			continue
		}
		if _, atom := p.Value.(term.Atom); atom {
			break
		}
		if s, ok := term.Text(p.Value); ok {
			return s
		}
	}
	return "0.0.0"
}

// apply adds what the flags ask for.
func (p *project) apply(o runOptions) error {
	add := func(m *term.Map, key string, v term.Term) {
		*m = append(*m, term.Pair{Key: term.Atom(key), Value: v})
	}
	if o.memory != 0 {
		add(&p.vm, "memory_limit", term.Int(o.memory))
	}
	if o.schedulers != 0 {
		add(&p.vm, "scheduler_limit", term.Int(o.schedulers))
	}
	for _, kv := range o.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return usage(fmt.Errorf("--env %s: expected key=value", kv))
		}
		add(&p.env, k, value(v))
	}
	p.port = o.port
	if _, set := p.env.Get(term.Atom("http_port")); o.port != 0 && !set {
		add(&p.env, "http_port", term.Int(o.port))
	}
	return nil
}

// value is an Erlang term where v reads as one, else v as a binary.
func value(v string) term.Term {
	if terms, err := term.Parse([]byte(v + " .")); err == nil && len(terms) == 1 {
		return terms[0]
	}
	return term.Binary(v)
}

// config is the app.config of the trial.
func (p project) config() term.Term {
	m := term.Map{
		{Key: term.Atom("name"), Value: term.Atom(p.name)},
		{Key: term.Atom("version"), Value: term.Binary(p.version)},
		{Key: term.Atom("source"), Value: p.source},
		{Key: term.Atom("isolation"), Value: term.Atom("vm")},
		{Key: term.Atom("vm_config"), Value: p.vm},
		{Key: term.Atom("env"), Value: p.env},
	}
	if p.port != 0 {
		m = append(m, term.Pair{Key: term.Atom("health"), Value: term.Map{
			{Key: term.Atom("type"), Value: term.Atom("tcp")},
			{Key: term.Atom("port"), Value: term.Int(p.port)},
		}})
	}
	return m
}
