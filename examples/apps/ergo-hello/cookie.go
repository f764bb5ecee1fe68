package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/ergo-services/ergo/lib"
	"github.com/ergo-services/ergo/node"
)

// cookie is the node's cookie, which may be replaced while it runs: links stay,
// the next handshake is made with the new one.
type cookie struct {
	mu    sync.RWMutex
	value string
}

// readCookie reads the file that a guest is given.
func readCookie(path string) (*cookie, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the node's cookie: %w", err)
	}
	return &cookie{value: strings.TrimSpace(string(data))}, nil
}

func (c *cookie) get() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.value
}

func (c *cookie) set(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = value
}

// keyed is ergo's handshake, which keeps to the cookie that the node began with.
type keyed struct {
	node.HandshakeInterface
	cookie *cookie
}

// Start is the handshake of who dials.
func (k keyed) Start(remote net.Addr, conn lib.NetReadWriter, tls bool, _ string) (node.HandshakeDetails, error) {
	return k.HandshakeInterface.Start(remote, conn, tls, k.cookie.get())
}

// Accept is the handshake of who is dialed.
func (k keyed) Accept(remote net.Addr, conn lib.NetReadWriter, tls bool, _ string) (node.HandshakeDetails, error) {
	return k.HandshakeInterface.Accept(remote, conn, tls, k.cookie.get())
}
