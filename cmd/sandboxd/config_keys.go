package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// gitopsKeys are the keys of bc_gitops's own section. Those that have no
// meaning here are accepted and left alone, so that its file serves as it is.
func (c *Config) gitopsKeys() map[string]setting {
	return map[string]setting{
		"repo_url":           {"a git URL as a binary or string, without a password", gitURL(&c.RepoURL)},
		"branch":             {"a branch name", text(&c.Branch)},
		"apps_dir":           {"a folder of the repository", text(&c.AppsDir)},
		"cookie":             {"a cookie: a binary, string or atom without spaces", cookie(&c.Cookie)},
		"node_prefix":        {"a binary of letters, digits, _ and -", prefix(&c.NodePrefix)},
		"reconcile_interval": {"milliseconds, 1000 or more", milliseconds(&c.Interval, 1000)},
		"local_path":         ignored(),
		"runtime_module":     ignored(),
	}
}

// sandboxdKeys are the keys of our section; relative paths start at dir.
func (c *Config) sandboxdKeys(dir string) map[string]setting {
	return map[string]setting{
		"host_node":      {"a node name such as 'demo_web@myhost'", text(&c.HostNode)},
		"hostname":       {"the machine's short name", text(&c.Hostname)},
		"root":           {"a path", path(dir, &c.Root)},
		"run_dir":        {"a path", path(dir, &c.RunDir)},
		"control_socket": {"a path", path(dir, &c.Socket)},
		"control_group":  {"a group's name", text(&c.Group)},
		"containerd":     {"embedded, or the path of a containerd socket", containerd(&c.Containerd)},
		"pool":           {"an IPv4 prefix such as <<\"10.231.0.0/16\">>, /30 or larger", pool(&c.Pool)},
		"stop_grace":     {"milliseconds", milliseconds(&c.StopGrace, 0)},
		"gateway_uid":    {"a numeric user id, not 0", uid(&c.GatewayUID)},
		"erlang":         {"the path of an OTP root", path(dir, &c.Erlang)},
		"ssh_key":        {"a path", path(dir, &c.SSHKey)},
		"known_hosts":    {"a path", path(dir, &c.KnownHosts)},
		"git_token_file": {"a path", path(dir, &c.GitTokenFile)},
		"distribution":   {"[{guest, plain | tls}, {host, plain | tls | #{ca, cert, key}}] with paths", c.Legs.distribution(dir)},
		"hex":            {"a list of #{name, url, public_key, auth_token_file}", c.hexRepositories(dir)},
		"elixir":         {"the path of an Elixir root", path(dir, &c.Elixir)},
		"hex_source":     {"the path of Debian's erlang-hex tarball", path(dir, &c.HexSource)},
		"builder_image":  {"an image by digest, \"registry.example/builder@sha256:…\", or the path of an archive, \"builder.tar\"", builderImage(dir, &c.Builder)},
		"build_memory":   {"MB, 64 or more", megabytes(&c.BuildMemory, 64)},
		"image_cache_mb": {"MB, 256 or more", megabytes(&c.ImageCache, 256)},
		"registry_auth":  {"a path", path(dir, &c.RegistryAuth)},
		"build_disk":     {"MB, 64 or more", megabytes(&c.BuildDisk, 64)},
		"build_timeout":  {"milliseconds, 1000 or more", milliseconds(&c.BuildTimeout, 1000)},
		"metrics":        {metricsForm, metricsAddress(dir, &c.Metrics)},
		"policy":         {"the path of a readable policy file, or its keys", c.policy(dir)},
	}
}

func ignored() setting { return setting{"anything", func(term.Term) bool { return true }} }

func text(p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		s, ok := term.Text(t)
		*p = s
		return ok && s != "" && !strings.ContainsAny(s, "\x00\n")
	}
}

// gitURL refuses a password inside the address: it would be shown in
// status and logs.
func gitURL(p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		if !text(p)(t) {
			return false
		}
		u, err := url.Parse(*p)
		if err != nil || u.User == nil {
			return true
		}
		_, secret := u.User.Password()
		return !secret
	}
}

func cookie(p *app.Secret) func(term.Term) bool {
	return func(t term.Term) bool {
		s, ok := term.Text(t)
		*p = app.NewSecret(s)
		return ok && s != "" && len(s) <= 255 && !strings.ContainsAny(s, " \t\r\n\x00")
	}
}

func prefix(p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		s, ok := term.Text(t)
		*p = s
		return ok && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
	}
}

func milliseconds(p *time.Duration, least int) func(term.Term) bool {
	return func(t term.Term) bool {
		n, ok := t.(term.Int)
		*p = time.Duration(n) * time.Millisecond
		return ok && int(n) >= least && n < 1<<40
	}
}

func megabytes(p *int64, least int) func(term.Term) bool {
	return func(t term.Term) bool {
		n, ok := t.(term.Int)
		*p = int64(n) << 20
		return ok && int(n) >= least && n < 1<<30
	}
}

func path(dir string, p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		ok := text(p)(t)
		if ok && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
		return ok
	}
}

// builderImage takes what names the same image for ever, or a file.
func builderImage(dir string, p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		if !text(p)(t) {
			return false
		}
		if strings.HasSuffix(*p, ".tar") {
			path(dir, p)(t)
			*p = "file://" + filepath.ToSlash(*p)
			return true
		}
		_, digest, ok := strings.Cut(*p, "@sha256:")
		return ok && len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == ""
	}
}

func containerd(p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		s, ok := term.Text(t)
		if s == "embedded" {
			*p = ""
			return true
		}
		*p = s
		return ok && filepath.IsAbs(s)
	}
}

func pool(p *netip.Prefix) func(term.Term) bool {
	return func(t term.Term) bool {
		s, _ := term.Text(t)
		v, err := netip.ParsePrefix(s)
		*p = v.Masked()
		return err == nil && v.Addr().Is4() && v.Bits() <= 30 && v.Bits() >= 8
	}
}

func uid(p *int) func(term.Term) bool {
	return func(t term.Term) bool {
		n, ok := t.(term.Int)
		*p = int(n)
		return ok && n > 0 && n < 1<<31
	}
}

// policy reads the operator's rules, from a file of their own or in place.
func (c *Config) policy(dir string) func(term.Term) bool {
	return func(t term.Term) bool {
		c.policyErr = c.readPolicy(dir, t)
		return c.policyErr == nil
	}
}

func (c *Config) readPolicy(dir string, t term.Term) error {
	if s, ok := term.Text(t); ok && s != "" {
		if !filepath.IsAbs(s) {
			s = filepath.Join(dir, s)
		}
		src, err := os.ReadFile(s)
		if err != nil {
			return fmt.Errorf("read policy: %w", err)
		}
		terms, err := term.Parse(src)
		if err != nil {
			return fmt.Errorf("read policy: %s: %w", s, err)
		}
		if len(terms) != 1 {
			return fmt.Errorf("read policy: %s: expected one term, found %d", s, len(terms))
		}
		t = terms[0]
	}
	pairs, ok := term.Proplist(t)
	if !ok {
		return fmt.Errorf("read policy: expected a list of {Key, Value}, found %s", term.Brief(t, 60))
	}
	for _, p := range pairs {
		if err := c.policyKey(p.Key, p.Value); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) policyKey(key, value term.Term) (err error) {
	name, _ := term.Text(key)
	n, isInt := value.(term.Int)
	switch {
	case name == "messages":
		c.Policy.Messages, err = policy.ParseApps(value)
		return err
	case name != "max_memory" && name != "max_schedulers":
		return fmt.Errorf("read policy: key %s is unknown, expected one of max_memory, max_schedulers, messages", term.Brief(key, 60))
	case !isInt || n < 0:
		return fmt.Errorf("read policy: %s: expected a number, found %s", name, term.Brief(value, 60))
	case name == "max_memory":
		c.Policy.MaxMemory = int(n)
	default:
		c.Policy.MaxSchedulers = int(n)
	}
	return nil
}
