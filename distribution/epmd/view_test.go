package epmd

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveView runs v on loopback until the test ends.
func serveView(t *testing.T, v *View) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

// recorded is a View that puts what it reports into a channel.
func recorded(pinned string, peers map[string]uint16) (*View, chan string) {
	events := make(chan string, 16)
	return &View{
		Pinned:       pinned,
		Peers:        peers,
		OnRegister:   func(r Registration, _ uint32) { events <- "up " + r.Name },
		OnUnregister: func(r Registration) { events <- "down " + r.Name },
	}, events
}

func TestViewRegistersAndFinds(t *testing.T) {
	ctx := t.Context()
	v, events := recorded("pulse", map[string]uint16{"demo_web": 4001})
	addr := serveView(t, v)

	lease, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5001})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-events; got != "up pulse" {
		t.Fatalf("event %q", got)
	}
	if lease.Creation < 4 {
		t.Errorf("creation %d is one of an old node", lease.Creation)
	}
	for name, want := range map[string]uint16{"pulse": 5001, "demo_web": 4001} {
		info, err := Lookup(ctx, addr, name)
		if err != nil || info.Port != want || info.Type != Normal || info.High != 6 {
			t.Errorf("lookup %s: %+v, %v", name, info, err)
		}
	}
	names, err := Names(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(names, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff([]Entry{{"demo_web", 4001}, {"pulse", 5001}}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	if got := <-events; got != "down pulse" {
		t.Errorf("event %q", got)
	}
	if _, err := Lookup(ctx, addr, "pulse"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lookup after close: %v, want ErrNotFound", err)
	}
}

func TestViewRefusesTakenNames(t *testing.T) {
	ctx := t.Context()
	v, _ := recorded("pulse", map[string]uint16{"demo_web": 4001})
	addr := serveView(t, v)
	lease, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5001})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	for _, name := range []string{"pulse", "demo_web"} {
		if _, err := Register(ctx, addr, Registration{Name: name, Port: 5002}); !errors.Is(err, ErrNameTaken) {
			t.Errorf("register %s: %v, want ErrNameTaken", name, err)
		}
	}
}

func TestViewHoldsOtherNamesSilently(t *testing.T) {
	v, events := recorded("pulse", nil)
	addr := serveView(t, v)
	other, err := Register(t.Context(), addr, Registration{Name: "rem-1", Port: 5001, Type: Hidden})
	if err != nil {
		t.Fatal(err)
	}
	pulse, err := Register(t.Context(), addr, Registration{Name: "pulse", Port: 5002})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-events; got != "up pulse" {
		t.Errorf("first event %q, want that of the pinned name", got)
	}
	other.Close()
	pulse.Close()
	if got := <-events; got != "down pulse" {
		t.Errorf("second event %q", got)
	}
}

func TestViewEndsWithItsContext(t *testing.T) {
	v, events := recorded("pulse", nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Serve(ctx, ln) }()
	lease, err := Register(ctx, netip.MustParseAddrPort(ln.Addr().String()), Registration{Name: "pulse", Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-events
	cancel()
	<-lease.Done()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
	if got := <-events; got != "down pulse" {
		t.Errorf("event %q", got)
	}
}

func TestViewAnswersNothing(t *testing.T) {
	tests := []struct{ name, request string }{
		{"kill", "00016b"},
		{"dump", "000164"},
		{"stop", "0006" + "73" + hex.EncodeToString([]byte("pulse"))},
		{"unknown", "0001ff"},
		{"empty", "0000"},
		{"too long", "ffff78"},
	}
	v, _ := recorded("pulse", nil)
	addr := serveView(t, v)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request, err := hex.DecodeString(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn)
			if len(answer) != 0 {
				t.Errorf("answer %x", answer)
			}
		})
	}
}

func TestViewRefusesBadRegistrations(t *testing.T) {
	good := appendNode([]byte{codeAlive}, Registration{Name: "pulse", Port: 1}.withDefaults())
	tests := map[string][]byte{
		"cut":        good[:7],
		"port zero":  appendNode([]byte{codeAlive}, Registration{Name: "pulse"}.withDefaults()),
		"no name":    appendNode([]byte{codeAlive}, Registration{Port: 1}.withDefaults()),
		"with host":  appendNode([]byte{codeAlive}, Registration{Name: "a@b", Port: 1}.withDefaults()),
		"line break": appendNode([]byte{codeAlive}, Registration{Name: "a\nname b", Port: 1}.withDefaults()),
	}
	for name, request := range tests {
		v := &View{}
		if answer, reg, _ := v.answer(request, 1); reg != nil || len(answer) < 2 || answer[1] == 0 {
			t.Errorf("%s: answer %x, registered %v", name, answer, reg)
		}
	}
}

// The machine's epmd takes a request with bytes behind its end, and ergo sends
// one such.
func TestViewIgnoresWhatFollows(t *testing.T) {
	v := &View{}
	request := appendNode([]byte{codeAlive}, Registration{Name: "pulse", Port: 1, Extra: []byte{0x11, 0x3B, 1, 0}}.withDefaults())
	if answer, reg, _ := v.answer(append(request, 0), 1); reg == nil || reg.Name != "pulse" || len(reg.Extra) != 4 || answer[1] != 0 {
		t.Errorf("answer %x, registered %+v", answer, reg)
	}
}

func TestViewOldCreation(t *testing.T) {
	v := &View{}
	answer, reg, creation := v.answer(appendNode([]byte{codeAlive}, Registration{Name: "a", Port: 1, High: 5, Low: 5}), 1)
	if reg == nil || answer[0] != codeAliveResp || len(answer) != 4 || creation < 1 || creation > 3 {
		t.Errorf("answer %x creation %d", answer, creation)
	}
}

func TestViewBoundsNames(t *testing.T) {
	v := &View{}
	for i := range viewNames + 1 {
		_, ok := v.claim(Registration{Name: strings.Repeat("n", i+1), Port: 1})
		if want := i < viewNames; ok != want {
			t.Fatalf("claim %d: %v", i, ok)
		}
	}
}

func TestNotRunning(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	if _, err := Register(t.Context(), addr, Registration{Name: "a", Port: 1}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("register: %v", err)
	}
	if _, err := Lookup(t.Context(), addr, "a"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("lookup: %v", err)
	}
	if _, err := Names(t.Context(), addr); !errors.Is(err, ErrNotRunning) {
		t.Errorf("names: %v", err)
	}
}

func TestParseNames(t *testing.T) {
	answer := append([]byte{0, 0, 0x11, 0x11}, "name pulse at port 5001\nname x at port 65536\n"...)
	if _, err := parseNames(answer); err == nil {
		t.Error("port 65536 was read")
	}
	got, err := parseNames(answer[:4+24])
	if err != nil || !cmp.Equal(got, []Entry{{"pulse", 5001}}) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzView(f *testing.F) {
	// ALIVE2_REQ, PORT_PLEASE2_REQ and NAMES_REQ as erl -sname sends them.
	for _, seed := range []string{
		"78a3b74d0000060005000570756c73650000",
		"7a64656d6f5f776562",
		"6e", "6b", "64", "7370756c7365",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		v := &View{Pinned: "pulse", Peers: map[string]uint16{"demo_web": 1}}
		answer, reg, _ := v.answer(request, 4369)
		if len(answer) > len(request)+64 {
			t.Errorf("request of %d bytes got %d", len(request), len(answer))
		}
		if reg == nil {
			return
		}
		if _, again, _ := v.answer(request, 4369); again != nil {
			t.Error("the same name was granted twice")
		}
		found, err := readPort(bytes.NewReader(v.find(reg.Name)))
		if err != nil || !cmp.Equal(found, *reg) {
			t.Errorf("find: %+v, %v, registered %+v", found, err, *reg)
		}
	})
}
