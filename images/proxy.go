package images

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// proxyPort is where a builder finds the proxy on its own loopback.
const proxyPort = 8418

// A proxy is a builder's only way out: it serves the git repositories that
// the project declares, and those that these declare in turn, out of stores
// that the host side fetched, and the configured Hex repositories. Everything
// else is refused and noted.
type proxy struct {
	name   string // the app, for messages
	source string // address of the app's own source
	mirror mirror
	hexes  hexRegistries
	log    io.Writer // the build log

	mu      sync.Mutex
	allowed map[string]bool // addresses of git remotes
	refused []string        // what was asked for and not given
	failed  []string        // what is declared and could not be had
	missing []string        // what a registry does not have
	asked   []string        // packages of Hex repositories
	given   []Dependency
}

// schemes maps the first part of a proxy path to the beginning of an address.
var schemes = map[string]string{
	"https": "https://", "http": "http://", "ssh": "ssh://", "git": "git://", "file": "file://", "scp": "git@",
}

// gitEnv tells git in the builder, through its environment alone, to come to
// the proxy for every remote; no file of the project changes.
func gitEnv(port uint16) []string {
	settings := [][2]string{
		{"safe.directory", "*"}, {"advice.detachedHead", "false"}, {"protocol.version", "0"}, {"gc.auto", "0"},
	}
	for _, scheme := range slices.Sorted(maps.Keys(schemes)) {
		to := fmt.Sprintf("url.http://127.0.0.1:%d/%s/.insteadOf", port, scheme)
		settings = append(settings, [2]string{to, schemes[scheme]})
	}
	env := []string{
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

// serve answers on l until ctx ends.
func (p *proxy) serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() }) //nolint:errcheck // Serve tells
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve sources to the builder: %w", err)
	}
	return nil
}

// ServeHTTP knows two requests of git's smart HTTP protocol.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	if remote, ok := cutRemote(r.URL.Path, "/info/refs"); ok && r.Method == http.MethodGet && r.URL.Query().Get("service") == "git-upload-pack" {
		p.refs(w, r, remote)
		return
	}
	if remote, ok := cutRemote(r.URL.Path, "/git-upload-pack"); ok && r.Method == http.MethodPost {
		p.pack(w, r, remote)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/hex/"); ok && r.Method == http.MethodGet {
		p.hex(w, r, rest)
		return
	}
	p.refuse(w, "the address "+r.URL.Path)
}

// cutRemote reads "/https/host/path<suffix>" as "https://host/path".
func cutRemote(p, suffix string) (string, bool) {
	p, ok := strings.CutSuffix(p, suffix)
	scheme, rest, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	prefix, known := schemes[scheme]
	return prefix + rest, ok && known
}

func (p *proxy) refs(w http.ResponseWriter, r *http.Request, remote string) {
	repo, ok := p.repository(w, r, remote, true)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	if err := advertise(w, repo); err != nil {
		note(p.log, "serve %s: %v", remote, err)
	}
}

func (p *proxy) pack(w http.ResponseWriter, r *http.Request, remote string) {
	repo, ok := p.repository(w, r, remote, false)
	if !ok {
		return
	}
	body, err := requestBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q, err := readWant(body)
	if err != nil {
		note(p.log, "serve %s: %v", remote, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.learn(repo, q.commits)
	for _, commit := range q.commits {
		p.took(Dependency{Kind: "git", Name: stripUser(remote), Version: commit.String()})
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	if err := q.answer(w, repo); err != nil {
		note(p.log, "serve %s: %v", remote, err)
	}
}

// requestBody undoes git's compression of long requests, within bounds.
func requestBody(r *http.Request) (io.Reader, error) {
	const limit = 1 << 20
	body := io.LimitReader(r.Body, limit)
	if r.Header.Get("Content-Encoding") != "gzip" {
		return body, nil
	}
	z, err := gzip.NewReader(body)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return io.LimitReader(z, limit), nil
}

// repository returns the store of a remote that the project declares.
func (p *proxy) repository(w http.ResponseWriter, r *http.Request, remote string, update bool) (*git.Repository, bool) {
	if reason := p.deny(remote); reason != "" {
		p.refuse(w, "the git repository "+stripUser(remote)+": "+reason)
		return nil, false
	}
	repo, err := p.mirror.open(r.Context(), remote, update)
	if err != nil {
		p.fail(w, "the git repository "+stripUser(remote), err)
		return nil, false
	}
	return repo, true
}

// deny says why a remote is not served, "" when it is. Credentials and local
// folders serve the app's own source; a dependency reaches neither unless the
// source itself comes from there.
func (p *proxy) deny(remote string) string {
	p.mu.Lock()
	declared := p.allowed[canonical(remote)]
	p.mu.Unlock()
	switch {
	case !declared:
		return "neither the project nor its lock file declares it as text"
	case strings.HasPrefix(remote, "file://") && !local(p.source):
		return "a dependency on this machine's own folders"
	case isSSH(remote) && host(remote) != host(p.source):
		return "ssh is only used to the host that the app itself comes from"
	}
	return ""
}

func local(address string) bool {
	return strings.HasPrefix(address, "file://") || strings.HasPrefix(address, "/")
}

func isSSH(address string) bool {
	return strings.HasPrefix(address, "ssh://") || strings.HasPrefix(address, "git@")
}

// host is the machine that an address names, without user and port.
func host(address string) string {
	if rest, ok := strings.CutPrefix(address, "git@"); ok {
		name, _, _ := strings.Cut(rest, ":")
		return name
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// canonical is an address as the list of declared ones holds it.
func canonical(address string) string { return strings.TrimRight(address, "/") }

// allow adds declared remotes.
func (p *proxy) allow(remotes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range remotes {
		p.allowed[canonical(r)] = true
	}
}

// learn declares what the dependencies themselves depend on, as their files
// say at the commits that a client takes.
func (p *proxy) learn(repo *git.Repository, commits []plumbing.Hash) {
	for _, h := range commits {
		commit, err := repo.CommitObject(h)
		if err != nil {
			if tag, tagErr := repo.TagObject(h); tagErr == nil {
				commit, err = tag.Commit()
			}
		}
		if err == nil {
			p.allow(commitRemotes(commit)...)
		}
	}
}

func (p *proxy) refuse(w http.ResponseWriter, what string) {
	message := fmt.Sprintf("%.300s", what)
	p.mu.Lock()
	if len(p.refused) < 100 && !slices.Contains(p.refused, message) {
		p.refused = append(p.refused, message)
	}
	p.mu.Unlock()
	note(p.log, "refused to %s: %s", p.name, message)
	http.Error(w, "beamsandbox refuses "+message, http.StatusForbidden)
}

// trouble says in one phrase what the builder did not get, "" when it got all.
// What was refused tells most; what is missing may have been optional, and
// then the builder's own last words say more.
func (p *proxy) trouble(lastWords string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.refused) > 0:
		return "it asked for " + printable(p.refused[0])
	case len(p.failed) > 0:
		return "it could not get " + printable(p.failed[0])
	case len(p.missing) > 0:
		return lastWords + "; there is no " + printable(p.missing[0])
	}
	return lastWords
}
