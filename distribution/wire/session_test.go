package wire

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

var (
	dialing   = Identity{Name: "pulse@vm", Flags: OwnFlags, Creation: 7}
	accepting = Identity{Name: "demo_web@vm", Flags: OwnFlags | Published, Creation: 9}
)

// handshake runs both roles against each other over a pipe.
func handshake(t *testing.T, dialCookie, acceptCookie string, admit func(Identity) StatusCode) (accepted, dialed Identity, acceptErr, dialErr error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		accepted, acceptErr = Accept(far, accepting, app.NewSecret(acceptCookie), 22, admit)
	}()
	dialed, dialErr = Dial(near, dialing, app.NewSecret(dialCookie), 11)
	near.Close()
	<-done
	return accepted, dialed, acceptErr, dialErr
}

func TestHandshakeBothRoles(t *testing.T) {
	accepted, dialed, acceptErr, dialErr := handshake(t, "same", "same", nil)
	if acceptErr != nil || dialErr != nil {
		t.Fatalf("accept: %v, dial: %v", acceptErr, dialErr)
	}
	if diff := cmp.Diff(dialing, accepted); diff != "" {
		t.Errorf("acceptor saw (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(accepting, dialed); diff != "" {
		t.Errorf("dialer saw (-want +got):\n%s", diff)
	}
}

func TestHandshakeWrongCookie(t *testing.T) {
	_, _, acceptErr, dialErr := handshake(t, "one", "other", nil)
	if !errors.Is(acceptErr, ErrCookie) || !errors.Is(dialErr, ErrCookie) {
		t.Errorf("accept: %v, dial: %v, want ErrCookie twice", acceptErr, dialErr)
	}
}

func TestHandshakeStatuses(t *testing.T) {
	tests := []struct {
		code   StatusCode
		refuse bool
	}{
		{StatusOK, false},
		{StatusSimultaneous, false},
		{StatusAlive, false},
		{StatusNOK, true},
		{StatusNotAllowed, true},
	}
	for _, tt := range tests {
		t.Run(string(tt.code), func(t *testing.T) {
			_, _, acceptErr, dialErr := handshake(t, "c", "c", func(Identity) StatusCode { return tt.code })
			if tt.refuse != (acceptErr != nil) || tt.refuse != errors.Is(dialErr, tt.code) {
				t.Errorf("refuse %v, accept: %v, dial: %v", tt.refuse, acceptErr, dialErr)
			}
		})
	}
}

func TestHandshakeNeedsMandatoryFlags(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		weak := dialing
		weak.Flags = OwnFlags &^ (MapTag | Mandatory25Digest)
		_ = NewDialer(near).SendName(weak)
	}()
	_, err := Accept(far, accepting, app.NewSecret("c"), 1, nil)
	if err == nil || !strings.Contains(err.Error(), "MAP_TAG missing") {
		t.Errorf("accept: %v, want MAP_TAG missing", err)
	}
}
