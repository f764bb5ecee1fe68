// Package gittest serves git repositories over ssh to tests.
package gittest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSH serves every repository of this machine to whoever holds one key. It is
// made by ServeSSH and ended by Close.
type SSH struct {
	Addr       string // "127.0.0.1:2222"
	Key        []byte // the client's private key, PEM
	KnownHosts []byte // the server in OpenSSH's known_hosts format
	Stranger   []byte // the same with another key
	listener   net.Listener
}

// ServeSSH begins to serve on loopback.
func ServeSSH() (*SSH, error) {
	_, host, err1 := newKey()
	_, stranger, err2 := newKey()
	key, client, err3 := newKey()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &SSH{Addr: l.Addr().String(), Key: pem.EncodeToMemory(block), listener: l}
	s.KnownHosts, s.Stranger = s.line(host), s.line(stranger)
	go s.accept(config(host, client.PublicKey()))
	return s, nil
}

// Close ends the server; a fetch that is under way goes on.
func (s *SSH) Close() error { return s.listener.Close() }

func newKey() (ed25519.PrivateKey, ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	return key, signer, err
}

// line says in known_hosts that the server has this key.
func (s *SSH) line(key ssh.Signer) []byte {
	host, port, _ := strings.Cut(s.Addr, ":")
	return append([]byte("["+host+"]:"+port+" "), ssh.MarshalAuthorizedKey(key.PublicKey())...)
}

func config(host ssh.Signer, client ssh.PublicKey) *ssh.ServerConfig {
	c := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	c.AddHostKey(host)
	return c
}

func (s *SSH) accept(c *ssh.ServerConfig) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		go serve(conn, c)
	}
}

func serve(conn net.Conn, c *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, c)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go session(channel, requests)
	}
}

// session runs git-upload-pack 'path' and nothing else.
func session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		var exe struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &exe) != nil {
			_ = req.Reply(false, nil) // the client will notice
			continue
		}
		_ = req.Reply(true, nil)
		status := uint32(0)
		if err := uploadPack(channel, exe.Command); err != nil {
			status = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

func uploadPack(channel ssh.Channel, command string) error {
	quoted, ok := strings.CutPrefix(command, "git-upload-pack ")
	if !ok {
		return fmt.Errorf("command %q is not served", command)
	}
	cmd := exec.Command("git-upload-pack", strings.Trim(quoted, "'"))
	cmd.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(in, channel); in.Close() }()
	return cmd.Wait()
}
