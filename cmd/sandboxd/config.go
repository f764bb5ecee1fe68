package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Config is sandboxd's configuration with its defaults applied; docs/config.md
// describes every key.
type Config struct {
	// Section bc_gitops, as bc_gitops reads it.
	RepoURL    string
	Branch     string
	AppsDir    string
	Cookie     app.Secret
	NodePrefix string
	Interval   time.Duration

	// Section sandboxd.
	HostNode     string
	Hostname     string
	Root         string
	RunDir       string
	Socket       string
	Group        string
	Containerd   string // "": our own; else the socket of the machine's
	Pool         netip.Prefix
	StopGrace    time.Duration
	GatewayUID   int
	Erlang       string // OTP root of the runtime layer; "": that of erl on PATH
	SSHKey       string
	KnownHosts   string
	GitTokenFile string
	Hex          []hexRepository // nil: hex.pm
	Elixir       string          // root of Elixir; "": that of elixir on PATH
	HexSource    string          // source of Hex for mix; "": beside our programs
	Builder      string          // image to build in, by digest or "file:///…"; "": made here
	BuildMemory  int64           // bytes, 0: as images has it
	BuildDisk    int64           // bytes, 0: as images has it
	BuildTimeout time.Duration   // 0: as images has it
	ImageCache   int64           // bytes that all images together may hold
	RegistryAuth string          // file with registries' credentials; "": none
	Metrics      string          // loopback address or socket; "": not served
	Legs         legs
	Policy       policy.Rules
	policyErr    error               // why the policy is not as expected
	PlainFolder  string              // --apps: a folder instead of a git repository
	Getenv       func(string) string // cookies of the environment, taken out of it
}

func defaults() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	short, _, _ := strings.Cut(host, ".")
	return Config{
		Branch: "main", AppsDir: "apps", Interval: time.Minute,
		Hostname: short, Root: "/var/lib/sandboxd", RunDir: "/run/sandboxd",
		Socket: control.DefaultSocket, Pool: netip.MustParsePrefix("10.231.0.0/16"),
		StopGrace: 10 * time.Second, GatewayUID: 64321, ImageCache: 10 << 30,
	}
}

// takeCookies moves cookies out of the environment, so that no program that
// sandboxd starts inherits one.
func takeCookies() func(string) string {
	taken := map[string]string{}
	for _, name := range []string{"RELEASE_COOKIE", "ERLANG_COOKIE", "BC_GITOPS_COOKIE"} {
		taken[name] = os.Getenv(name)
		os.Unsetenv(name) //nolint:errcheck // fails for malformed names alone
	}
	return func(name string) string { return taken[name] }
}

// loadConfig reads and checks the file at path; plain is the folder of --apps.
func loadConfig(path, plain string) (Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c := defaults()
	c.PlainFolder = plain
	if err := c.read(path, src); err != nil {
		return Config{}, err
	}
	return c, c.complete(path)
}

// complete refuses what cannot work before anything is touched.
func (c *Config) complete(path string) error {
	if c.RepoURL == "" && c.PlainFolder == "" {
		return fmt.Errorf("%s: bc_gitops.repo_url is missing: say which repository to follow", path)
	}
	if c.HostNode == "" {
		return fmt.Errorf("%s: sandboxd.host_node is missing: name the host VM, as in {host_node, 'demo_web@%s'}", path, c.Hostname)
	}
	name, host, ok := strings.Cut(c.HostNode, "@")
	if !ok || name == "" || host != c.Hostname {
		return fmt.Errorf("%s: sandboxd.host_node: expected 'name@%s' (this machine's short name), found '%s'", path, c.Hostname, c.HostNode)
	}
	if _, err := c.openHex(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := c.checkLegs(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c.Policy.AllowPath = c.PlainFolder != ""
	for _, dir := range []string{c.Root, c.RunDir, c.Socket} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: %s is not an absolute path", path, dir)
		}
	}
	return nil
}

// read sets c from an Erlang configuration: [{Application, [{Key, Value}]}].
func (c *Config) read(path string, src []byte) error {
	nodes, err := term.ParseNodes(src)
	if err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	if len(nodes) != 1 {
		return fmt.Errorf("%s: expected one list of {Application, Keys}, found %d terms", path, len(nodes))
	}
	apps, ok := nodes[0].Entries()
	if !ok {
		return fmt.Errorf("%s:%d:%d: expected a list of {Application, Keys}", path, nodes[0].Line, nodes[0].Column)
	}
	schemas := map[term.Atom]map[string]setting{"bc_gitops": c.gitopsKeys(), "sandboxd": c.sandboxdKeys(filepath.Dir(path))}
	for _, a := range apps {
		section, _ := a.Key.Term.(term.Atom)
		if keys, ours := schemas[section]; ours {
			if err := readSection(path, string(section), a.Value, keys); err != nil {
				if c.policyErr != nil {
					return fmt.Errorf("%w: %w", err, c.policyErr)
				}
				return err
			}
		}
	}
	return nil
}

// setting is how one key is read.
type setting struct {
	expected string
	set      func(term.Term) bool // false: not as expected
}

func readSection(path, section string, n *term.Node, keys map[string]setting) error {
	entries, ok := n.Entries()
	if !ok {
		return fmt.Errorf("%s:%d:%d: %s: expected a list of {Key, Value}", path, n.Line, n.Column, section)
	}
	for _, e := range entries {
		key, _ := term.Text(e.Key.Term)
		s, known := keys[key]
		if !known {
			return fmt.Errorf("%s:%d:%d: %s.%s is not a key; did you mean %s?", path, e.Key.Line, e.Key.Column, section, key, nearest(key, keys))
		}
		if !s.set(e.Value.Term) {
			return fmt.Errorf("%s:%d:%d: %s.%s: expected %s%s", path, e.Value.Line, e.Value.Column, section, key, s.expected, found(key, e.Value.Term))
		}
	}
	return nil
}

// found shows the value, but never a secret.
func found(key string, t term.Term) string {
	if key == "cookie" {
		return ""
	}
	s := term.Format(t)
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return ", found " + s
}

// nearest suggests a key, or lists them all when none comes close.
func nearest(key string, keys map[string]setting) string {
	known := slices.Sorted(maps.Keys(keys))
	if n := app.Nearest(key, known); n != "" {
		return n
	}
	return "one of " + strings.Join(known, ", ")
}
