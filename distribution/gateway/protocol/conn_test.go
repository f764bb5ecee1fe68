package protocol

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pair is the two ends of one unix connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gwp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err = net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	b, err = ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMessageTravelsWithItsSockets(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := Request{Op: OpSet, Name: "pulse", Member: &Member{
		Name: "pulse", Node: "pulse@vm", Cookie: strings.Repeat("c", 1<<20),
		EPMD: netip.MustParseAddrPort("127.0.0.1:4369"),
	}, Sockets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:4369")}}
	sent := make(chan error, 1)
	go func() { sent <- Write(a, want, w); w.Close() }()

	var got Request
	files, err := Read(b, &got)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })); d != "" {
		t.Errorf("request changed on its way (-sent +got):\n%s", d)
	}
	if len(files) != 1 {
		t.Fatalf("got %d files, want 1", len(files))
	}
	if _, err := files[0].WriteString("through"); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	if text, _ := io.ReadAll(r); string(text) != "through" {
		t.Errorf("passed file carried %q", text)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes string
		want  string
	}{
		"nothing":           {"", "EOF"},
		"half a length":     {"\x00\x00", "unexpected EOF"},
		"too large":         {"\xff\xff\xff\xff", "at most"},
		"half a message":    {"\x00\x00\x00\x09{}", "unexpected EOF"},
		"not JSON":          {"\x00\x00\x00\x02{{", "read message"},
		"wrong field shape": {"\x00\x00\x00\x0d{\"op\":[1,2]} ", "read message"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			if _, err := io.WriteString(a, tc.bytes); err != nil {
				t.Fatal(err)
			}
			a.Close()
			var req Request
			if _, err := Read(b, &req); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
