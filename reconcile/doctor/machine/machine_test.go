package machine

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"beamsandbox/reconcile/status"
)

func TestKernel(t *testing.T) {
	for release, want := range map[string]status.Verdict{
		"4.19.0-27-amd64": status.Fail, "5.15.0": status.Fail, "5.16.0": status.Warn, "5.18.9": status.Warn,
		"5.19": status.OK, "6.1.0-18-amd64": status.OK, "10.0.1": status.OK, "": status.Warn, "next": status.Warn,
	} {
		if got := kernel(release); got.Verdict != want || (want != status.OK && got.Cure == "") {
			t.Errorf("%q: %+v, want %s", release, got, want)
		}
	}
}

func TestRuncVersions(t *testing.T) {
	for said, want := range map[string]status.Verdict{
		"runc version 1.1.5+ds1": status.Fail, "runc version 1.2.7": status.Fail, "runc version 1.2.8": status.OK,
		"runc version 1.3.2": status.Fail, "runc version 1.3.3": status.OK, "runc version 1.4.0-rc.1": status.OK,
		"runc version 1.5.2": status.OK, "runc version 2.0.0": status.OK, "runc version unknown": status.Warn,
	} {
		if got := runcCheck(said, nil); got.Verdict != want || (want != status.OK && got.Cure == "") {
			t.Errorf("%q: %+v, want %s", said, got, want)
		}
	}
	if got := runcCheck("", errors.New("exec format error")); got.Verdict != status.Fail {
		t.Errorf("one that does not run: %+v", got)
	}
}

func TestHolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	if got := Holder(port); !strings.Contains(got, "machine.test (pid ") {
		t.Errorf("our own socket is held by %s", got)
	}
	l.Close()
	if got := Holder(port); got != "no process" {
		t.Errorf("a closed socket is held by %s", got)
	}
}
