package gateway

import (
	"errors"
	"fmt"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// The legs of a link.
const (
	guestLeg = iota
	hostLeg
	legs
)

// Rekey gives a member other cookies and certificates, for the next
// handshakes: its link stays. A plain leg stays plain.
func (s *Server) Rekey(name string, keys protocol.Keys) (protocol.Node, error) {
	m, err := s.member(name)
	if err != nil {
		return protocol.Node{}, fmt.Errorf("change the cookies of %s: %w", name, err)
	}
	for _, pair := range []*protocol.KeyPair{keys.Guest, keys.Host} {
		if pair != nil && pair.Now == "" {
			return protocol.Node{}, fmt.Errorf("change the cookies of %s: a cookie is empty", name)
		}
	}
	if err := checkTLS(name, keys.GuestTLS, keys.HostTLS); err != nil {
		return protocol.Node{}, err
	}
	m.rekey(keys)
	return m.node(), nil
}

func (s *Server) answerKeys(req protocol.Request) protocol.Response {
	if req.Keys == nil {
		return failed(errors.New("change cookies: request brings none"))
	}
	node, err := s.Rekey(req.Name, *req.Keys)
	if err != nil {
		return failed(err)
	}
	return protocol.Response{Node: &node}
}

func (m *member) rekey(keys protocol.Keys) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := keys.Guest; k != nil {
		m.wanted.Cookie, m.wanted.NextCookie = k.Now, k.Next
		m.doubted[guestLeg] = false
	}
	if k := keys.Host; k != nil {
		m.wanted.HostCookie, m.wanted.NextHostCookie = k.Now, k.Next
		m.doubted[hostLeg] = false
	}
	if keys.GuestTLS != nil && m.wanted.GuestTLS != nil {
		m.wanted.GuestTLS = keys.GuestTLS
	}
	if keys.HostTLS != nil && m.wanted.HostTLS != nil {
		m.wanted.HostTLS = keys.HostTLS
	}
}

// secrets are the cookies that the node of one leg may know: one, or two while
// it is replaced, the likelier first.
func (m *member) secrets(leg int) []app.Secret {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, next := m.wanted.Cookie, m.wanted.NextCookie
	if leg == hostLeg {
		now, next = m.wanted.HostCookie, m.wanted.NextHostCookie
	}
	switch {
	case next == "" || next == now:
		return []app.Secret{app.NewSecret(now)}
	case m.doubted[leg]:
		now, next = next, now
	}
	return []app.Secret{app.NewSecret(now), app.NewSecret(next)}
}

func (m *member) cookies(leg int) []wire.Cookie {
	var all []wire.Cookie
	for _, s := range m.secrets(leg) {
		all = append(all, s)
	}
	return all
}

// guestSecrets are what our own node proves to the guest.
func (m *member) guestSecrets() ([]app.Secret, error) { return m.secrets(guestLeg), nil }

// doubt notes that the node that we dialed refused the cookie that was tried:
// whoever dials again soon is served with the other one, if there are two. A
// dialing node that proves a wrong one changes nothing.
func (m *member) doubt(leg int, err error) {
	if !errors.Is(err, wire.ErrCookie) || !errors.As(err, new(dialedError)) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubted[leg] = !m.doubted[leg]
}
