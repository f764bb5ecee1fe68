package stage

import (
	"context"
	"net"
	"net/http"
)

// Attach speaks to a sandboxd that somebody else starts and stops, such as a
// service manager. It may not run yet, and may be replaced by another.
func (s *Stage) Attach() *Daemon {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Socket())
	}
	return &Daemon{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// OpenRepo is a repository that NewRepo made in an earlier run.
func (s *Stage) OpenRepo(name string) *Repo { return &Repo{Dir: s.Path("repos", name)} }
