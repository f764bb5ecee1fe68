package netns

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

func TestTriedOf(t *testing.T) {
	key := []byte{192, 0, 2, 9, 6, 0, 0, 0, 0x1f, 0x90, 0, 0}
	got, ok := triedOf(nftables.SetElement{Key: key, Expires: triedFor - 3*time.Second, Counter: &expr.Counter{Packets: 2, Bytes: 120}})
	want := Tried{Protocol: 6, Dest: netip.MustParseAddrPort("192.0.2.9:8080"), Packets: 2, Bytes: 120, Ago: 3 * time.Second}
	if !ok || got != want {
		t.Errorf("element reads as %+v, %t; want %+v", got, ok, want)
	}
	if _, ok := triedOf(nftables.SetElement{Key: key[:8]}); ok {
		t.Error("short key accepted")
	}
	if got, ok := triedOf(nftables.SetElement{Key: key, Expires: 2 * triedFor}); !ok || got.Ago != 0 || got.Packets != 0 {
		t.Errorf("element without counter, from the future: %+v, %t", got, ok)
	}
}
