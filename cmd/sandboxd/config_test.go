package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/policy"
)

const whole = `%% as bc_gitops has it, with our section beside
[{kernel, [{logger_level, info}]},
 {bc_gitops, [{repo_url, <<"https://github.com/org/gitops-repo.git">>}, {branch, <<"trunk">>},
              {apps_dir, <<"services">>}, {cookie, <<"not_in_git">>}, {node_prefix, <<"bc_gitops_">>},
              {reconcile_interval, 30000}, {local_path, "/tmp/x"}, {runtime_module, whatever}]},
 {sandboxd, [{host_node, 'demo_web@myhost'}, {hostname, "myhost"}, {root, "/srv/sandboxd"}, {containerd, embedded},
             {pool, <<"10.9.0.0/16">>}, {policy, [{max_memory, 512}, {messages, #{pulse => #{mode => audit}}}]}]}].`

func TestRead(t *testing.T) {
	c := defaults()
	if err := c.read("sandboxd.config", []byte(whole)); err != nil {
		t.Fatal(err)
	}
	if err := c.complete("sandboxd.config"); err != nil {
		t.Fatal(err)
	}
	if c.Cookie.Reveal() != "not_in_git" {
		t.Error("the cookie was not read")
	}
	got := []any{c.RepoURL, c.Branch, c.AppsDir, c.NodePrefix, c.Interval, c.HostNode, c.Root, c.Containerd, c.Pool.String(), c.Policy.MaxMemory, c.Policy.Messages["pulse"].Mode}
	want := []any{"https://github.com/org/gitops-repo.git", "trunk", "services", "bc_gitops_", 30 * time.Second,
		"demo_web@myhost", "/srv/sandboxd", "", "10.9.0.0/16", 512, policy.Audit}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefaults(t *testing.T) {
	c := defaults()
	src := `[{bc_gitops, [{repo_url, "file:///srv/r"}]}, {sandboxd, [{host_node, 'a@h'}, {hostname, h}]}].`
	if err := c.read("f", []byte(src)); err != nil {
		t.Fatal(err)
	}
	if c.Branch != "main" || c.Interval != time.Minute || c.Pool != netip.MustParsePrefix("10.231.0.0/16") {
		t.Errorf("defaults: %+v", c)
	}
}

func TestBuilderImage(t *testing.T) {
	digest := "registry.example/builder@sha256:" + strings.Repeat("0a", 32)
	for value, want := range map[string]string{`<<"` + digest + `">>`: digest, `"b/builder.tar"`: "file:///etc/sandboxd/b/builder.tar", `"/srv/builder.tar"`: "file:///srv/builder.tar"} {
		c := defaults()
		if err := c.read("/etc/sandboxd/sandboxd.config", []byte(`[{sandboxd, [{builder_image, `+value+`}]}].`)); err != nil || c.Builder != want {
			t.Errorf("%s is read as %q, %v; want %q", value, c.Builder, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"syntax", `[{bc_gitops, [}].`, "f:1:"},
		{"unknown key", `[{sandboxd, [{host_nod, x}]}].`, "f:1:15: sandboxd.host_nod is not a key; did you mean host_node?"},
		{"wrong type", "[{bc_gitops,\n [{reconcile_interval, fast}]}].", "f:2:24: bc_gitops.reconcile_interval: expected milliseconds, 1000 or more, found fast"},
		{"password in the address", `[{bc_gitops, [{repo_url, "https://me:hush@h/r"}]}].`, "without a password"},
		{"builder by tag", `[{sandboxd, [{builder_image, "registry.example/builder:1"}]}].`, "expected an image by digest"},
		{"builder by a short digest", `[{sandboxd, [{builder_image, "registry.example/builder@sha256:12"}]}].`, "expected an image by digest"},
		{"pool", `[{sandboxd, [{pool, "::1/64"}]}].`, "expected an IPv4 prefix"},
		{"no list", `ok.`, "expected a list"},
		{"two terms", `[]. [].`, "found 2 terms"},
		{"policy", `[{sandboxd, [{policy, [{max_memry, 1}]}]}].`, "key max_memry is unknown"},
		{"messages", `[{sandboxd, [{policy, [{messages, #{pulse => #{mode => off}}}]}]}].`, "app pulse: read messages: mode: expected enforce, audit or trusted, found off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			err := c.read("f", []byte(tt.src))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSecretsStayOut(t *testing.T) {
	c := defaults()
	err := c.read("f", []byte(`[{bc_gitops, [{cookie, <<"hush hush">>}]}].`))
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error = %v: it must name the key and not the cookie", err)
	}
}

func TestIncomplete(t *testing.T) {
	tests := []struct{ src, want string }{
		{`[].`, "bc_gitops.repo_url is missing"},
		{`[{bc_gitops, [{repo_url, "x"}]}].`, "sandboxd.host_node is missing"},
		{`[{bc_gitops, [{repo_url, "x"}]}, {sandboxd, [{host_node, 'a@elsewhere'}, {hostname, here}]}].`, "expected 'name@here'"},
	}
	for _, tt := range tests {
		c := defaults()
		if err := c.read("f", []byte(tt.src)); err != nil {
			t.Fatal(err)
		}
		if err := c.complete("f"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("complete(%s) = %v, want %q", tt.src, err, tt.want)
		}
	}
}
