package git

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// Config says which branch of which repository is followed and how its host
// is reached. Zero limits mean the defaults.
type Config struct {
	URL        string        // https, ssh, git@host:path, file or a plain path; never with a password
	Branch     string        // "" follows the remote's HEAD
	Dir        string        // our own bare store; made when missing, may be deleted at will
	SSHKey     string        // file with the private key, for ssh
	KnownHosts string        // file in OpenSSH's known_hosts format, mandatory for ssh
	TokenFile  string        // file with a token for https, read at every fetch
	Timeout    time.Duration // of one Fetch; 1 minute
	MaxFile    int64         // bytes of one file; 16 MiB
	MaxTotal   int64         // bytes of all files of a commit; 256 MiB
	MaxFiles   int           // files of a commit; 20,000
}

const (
	defaultTimeout  = time.Minute
	defaultMaxFile  = 16 << 20
	defaultMaxTotal = 256 << 20
	defaultMaxFiles = 20_000
)

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxFile <= 0 {
		c.MaxFile = defaultMaxFile
	}
	if c.MaxTotal <= 0 {
		c.MaxTotal = defaultMaxTotal
	}
	if c.MaxFiles <= 0 {
		c.MaxFiles = defaultMaxFiles
	}
	return c
}

// endpoint parses the address and refuses what would leak or cannot be
// checked: a password in the address, a token over plain http, ssh without
// known hosts.
func (c Config) endpoint() (*transport.Endpoint, error) {
	if c.URL == "" {
		return nil, errors.New("open repository: the address is empty: set repo_url")
	}
	e, err := transport.NewEndpoint(c.URL)
	if err != nil {
		return nil, fmt.Errorf("open repository: the address cannot be read: %w", err)
	}
	switch {
	case e.Password != "":
		return nil, fmt.Errorf("open repository %s: a password in the address ends up in logs: put a token into a file and name it as the token file", Redact(c.URL))
	case e.Protocol == "ssh" && c.KnownHosts == "":
		return nil, fmt.Errorf("open repository %s: ssh needs a known_hosts file: make one with ssh-keyscan and name it", c.URL)
	case e.Protocol == "http" && c.TokenFile != "":
		return nil, fmt.Errorf("open repository %s: a token over plain http can be read by anyone: use https", c.URL)
	case e.Protocol == "git":
		return nil, fmt.Errorf("open repository %s: the git:// protocol proves nothing about who answers: use https or ssh", c.URL)
	}
	return e, nil
}

// auth reads keys and tokens anew for every fetch, so that they can be
// changed without a restart.
func (c Config) auth(e *transport.Endpoint) (transport.AuthMethod, error) {
	switch {
	case e.Protocol == "ssh":
		return c.sshAuth(e)
	case e.Protocol == "https" && c.TokenFile != "":
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token file: %w", err)
		}
		user := e.User
		if user == "" {
			user = "git"
		}
		return &http.BasicAuth{Username: user, Password: strings.TrimSpace(string(token))}, nil
	}
	return nil, nil
}

// Auth returns the credentials for the source of an app. The token goes to
// the host of c.URL alone: an app that names another host is served without,
// so that no app.config can send it elsewhere. An ssh key proves itself
// without leaving, and reaches known hosts only.
func (c Config) Auth(address string) (transport.AuthMethod, error) {
	e, err := transport.NewEndpoint(address)
	if err != nil {
		return nil, fmt.Errorf("read the address of a source: %w", err)
	}
	own, err := transport.NewEndpoint(c.URL)
	switch {
	case e.Protocol == "ssh" && c.KnownHosts != "":
		return c.sshAuth(e)
	case err == nil && e.Protocol == "https" && e.Host == own.Host && e.Port == own.Port:
		return c.auth(e)
	}
	return nil, nil
}

func (c Config) sshAuth(e *transport.Endpoint) (transport.AuthMethod, error) {
	hosts, err := ssh.NewKnownHostsCallback(c.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("read known hosts %s: %w", c.KnownHosts, err)
	}
	user := e.User
	if user == "" {
		user = "git"
	}
	keys, err := ssh.NewPublicKeysFromFile(user, c.SSHKey, "")
	if err != nil {
		return nil, fmt.Errorf("read ssh key %q: %w", c.SSHKey, err)
	}
	keys.HostKeyCallback = hosts
	return keys, nil
}

// Redact returns address without the password that it may hold.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	return u.Redacted()
}
