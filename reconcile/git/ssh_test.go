package git

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, signer
}

// sshServer serves git's upload-pack to whoever holds the client key, and
// returns its address.
func sshServer(t *testing.T, host ssh.Signer, client ssh.PublicKey) string {
	t.Helper()
	conf := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	conf.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, conf)
		}
	}()
	return l.Addr().String()
}

func serveSSH(conn net.Conn, conf *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, conf)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go serveChannel(channel, requests)
	}
}

// serveChannel runs git-upload-pack 'path' and nothing else.
func serveChannel(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		var exe struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &exe) != nil {
			_ = req.Reply(false, nil) // the client will notice
			continue
		}
		_ = req.Reply(true, nil)
		path := strings.Trim(strings.TrimPrefix(exe.Command, "git-upload-pack "), "'")
		cmd := exec.Command("git-upload-pack", path)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		go func() { _, _ = io.Copy(in, channel); in.Close() }()
		code := 0
		if cmd.Wait() != nil {
			code = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
		return
	}
}

func TestFetchOverSSH(t *testing.T) {
	u := newUpstream(t)
	u.commit(map[string]string{"a": "one"})
	_, host := newKey(t)
	_, stranger := newKey(t)
	key, client := newKey(t)
	addr := sshServer(t, host, client.PublicKey())
	dir := t.TempDir()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	keyFile, known, wrong := filepath.Join(dir, "key"), filepath.Join(dir, "known"), filepath.Join(dir, "wrong")
	hostname, port, _ := strings.Cut(addr, ":")
	line := func(s ssh.Signer) []byte {
		return append([]byte("["+hostname+"]:"+port+" "), ssh.MarshalAuthorizedKey(s.PublicKey())...)
	}
	for file, data := range map[string][]byte{keyFile: pem.EncodeToMemory(block), known: line(host), wrong: line(stranger)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{URL: "ssh://git@" + addr + u.dir, Branch: "main", SSHKey: keyFile, KnownHosts: known}
	wantFile(t, fetch(t, open(t, cfg)), "a", "one")

	cfg.KnownHosts = wrong
	if _, err := open(t, cfg).Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "key mismatch") {
		t.Errorf("another host's key gave %v", err)
	}
	cfg.KnownHosts, cfg.SSHKey = known, filepath.Join(dir, "none")
	if _, err := open(t, cfg).Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing key gave %v", err)
	}
}
