package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// Daemon is a running sandboxd.
type Daemon struct {
	*Proc
	http *http.Client
}

// Options is what a test changes in sandboxd's configuration.
type Options struct {
	Repo     *Repo
	HostNode string
	Interval int         // reconcile_interval in ms, default 60000
	Messages string      // of the policy, in Erlang's syntax; "": PulseMessages
	Extra    []term.Term // more {Key, Value} of the sandboxd section
}

// PulseMessages lets pulse join its group and send its beat to the host VM's
// members. counter says nothing that needs a rule.
const PulseMessages = `#{pulse => #{groups => [#{scope => beamsandbox_demo, names => [pulse],
  message => {pulse, '$atom', '$string', '$integer'}}]}}`

// Socket is the control socket's path.
func (s *Stage) Socket() string { return filepath.Join(s.RunDir, "control.sock") }

// ConfigPath is where StartDaemon writes the configuration.
func (s *Stage) ConfigPath() string { return s.Path("sandboxd.config") }

// StartDaemon writes a configuration as an operator would and starts sandboxd.
func (s *Stage) StartDaemon(ctx context.Context, o Options) (*Daemon, error) {
	if err := s.WriteConfig(o); err != nil {
		return nil, err
	}
	return s.RestartDaemon(ctx)
}

// RestartDaemon starts sandboxd with the configuration that is there.
func (s *Stage) RestartDaemon(ctx context.Context) (*Daemon, error) {
	cmd := exec.Command(filepath.Join(s.Bin, "sandboxd"), "--config", s.ConfigPath())
	cmd.Env = append(os.Environ(), s.Env...)
	p, err := s.Start("sandboxd", cmd)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Socket())
	}
	d := &Daemon{Proc: p, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
	s.daemon = d
	return d, Until(ctx, "sandboxd answers; see "+p.Log, func() bool {
		_, err := d.Status(ctx)
		return err == nil || !p.Running()
	})
}

// WriteConfig writes sandboxd's configuration.
func (s *Stage) WriteConfig(o Options) error {
	if o.Interval == 0 {
		o.Interval = 60000
	}
	pair := func(k string, v term.Term) term.Term { return term.Tuple{term.Atom(k), v} }
	list := func(e ...term.Term) term.Term { return term.List{Elems: e} }
	own := []term.Term{pair("host_node", term.Atom(o.HostNode)), pair("root", term.Binary(s.Root)),
		pair("run_dir", term.Binary(s.RunDir)), pair("control_socket", term.Binary(s.Socket()))}
	if o.Messages == "" {
		o.Messages = PulseMessages
	}
	messages, err := term.Parse([]byte(o.Messages + "."))
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("write configuration: messages %s: %w", o.Messages, err)
	}
	own = append(own, pair("policy", list(pair("messages", messages[0]))))
	config := list(
		pair("bc_gitops", list(pair("repo_url", term.Binary(o.Repo.URL())), pair("branch", term.Binary("main")),
			pair("cookie", term.Binary(s.Cookie)), pair("reconcile_interval", term.Int(o.Interval)))),
		pair("sandboxd", list(append(own, o.Extra...)...)))
	return writeFile(s.ConfigPath(), term.WriteConsult(config), 0o600)
}

// Ctl runs sandboxctl and returns what it printed.
func (s *Stage) Ctl(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(s.Bin, "sandboxctl"), append([]string{"--socket", s.Socket()}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("sandboxctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// Status asks the control socket.
func (d *Daemon) Status(ctx context.Context) (status.Host, error) {
	var h status.Host
	return h, d.ask(ctx, http.MethodGet, "status", &h)
}

// Sync asks for a pass now.
func (d *Daemon) Sync(ctx context.Context) error {
	return d.ask(ctx, http.MethodPost, "sync", &struct{}{})
}

// Drain removes every app, whatever the repository asks for.
func (d *Daemon) Drain(ctx context.Context) error {
	return d.ask(ctx, http.MethodPost, "drain", &struct{}{})
}

func (d *Daemon) ask(ctx context.Context, method, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://sandboxd/v1/"+path, nil)
	if err != nil {
		return err
	}
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("sandboxd answered %s: %s", res.Status, bytes.TrimSpace(why))
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// App is the named app's status now; zero when it is not listed.
func (d *Daemon) App(ctx context.Context, name string) status.App {
	h, err := d.Status(ctx)
	if err != nil {
		return status.App{}
	}
	for _, a := range h.Apps {
		if a.Name == name {
			return a
		}
	}
	return status.App{}
}

// Await asks again and again until ok holds of a snapshot.
func (d *Daemon) Await(ctx context.Context, what string, ok func(status.Host) bool) error {
	var last status.Host
	check := func() bool {
		h, err := d.Status(ctx)
		if err == nil {
			last = h
		}
		return err == nil && ok(h)
	}
	if err := Until(ctx, what, check); err != nil {
		return fmt.Errorf("%w; %s", err, summary(last))
	}
	return nil
}

// AwaitHealthy waits until exactly these apps are listed and healthy.
func (d *Daemon) AwaitHealthy(ctx context.Context, names ...string) error {
	return d.Await(ctx, fmt.Sprintf("%v are healthy", names), func(h status.Host) bool {
		healthy := map[string]bool{}
		for _, a := range h.Apps {
			healthy[a.Name] = a.Phase == status.Healthy
		}
		for _, n := range names {
			if !healthy[n] {
				return false
			}
		}
		return len(healthy) == len(names)
	})
}

func summary(h status.Host) string {
	s := []string{}
	if h.Error != "" {
		s = append(s, "error: "+h.Error)
	}
	for _, a := range h.Apps {
		s = append(s, fmt.Sprintf("%s %s %s %s %s", a.Name, a.Version, a.Phase, a.Reason, a.Detail))
	}
	return strings.Join(s, "; ")
}
