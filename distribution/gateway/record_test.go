package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// garbled has the guest dial and send what no node sends.
func (s *scene) garbled() error {
	s.t.Helper()
	answer := s.accepted(s.host, everything("web@vm", 41), "cluster's", nil)
	conn := s.dialed(s.spec.Host.Port())
	if _, err := wire.Dial(conn, everything("pulse@vm", 42), app.NewSecret("guest's"), 3); err != nil {
		if c, err := net.Dial("tcp", s.host.Addr().String()); err == nil { // nobody else comes
			c.Close()
		}
		<-answer
		return err
	}
	peer{conn: conn}.send(s.t, []byte("garbage"))
	s.expect("down")
	return (<-answer).err
}

// older makes what the guest did longer ago than it is.
func (s *scene) older(by time.Duration) {
	r := s.server.members["pulse"].record
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.life.Closed {
		r.life.Closed[i] = r.life.Closed[i].Add(-by)
	}
}

// handshakes is how often the scene's guest may dial, for tests that dial a lot.
func (s *scene) handshakes(n int) { s.under(policy.Messages{Limits: policy.Limits{Handshakes: n}}) }

func TestClosedLinkIsFollowedByBackoff(t *testing.T) {
	s := newScene(t)
	s.boot()
	if err := s.garbled(); err != nil {
		t.Fatal(err)
	}
	if s.garbled() == nil {
		t.Fatal("the guest was let in again at once")
	}
	if ev := s.expect("link_error"); !strings.Contains(ev.Detail, "is let in again at 20") || s.node().NextTry.IsZero() || s.node().Closed != 1 {
		t.Errorf("event says %q, node %+v", ev.Detail, s.node())
	}
	s.older(2 * time.Second)
	if err := s.garbled(); err != nil {
		t.Errorf("the guest is kept off after its wait: %v", err)
	}
}

func TestGuestThatGoesOnIsQuarantined(t *testing.T) {
	s := newScene(t)
	s.spec.Build = "one"
	s.handshakes(-1)
	s.boot()
	for i := range 5 {
		if err := s.garbled(); err != nil {
			t.Fatalf("link %d: %v", i, err)
		}
		s.older(30 * time.Second)
	}
	if ev := s.expect("quarantined"); !strings.Contains(ev.Detail, "closed 5 times within ten minutes, last for breaking rule malformed") {
		t.Errorf("event says %q", ev.Detail)
	}
	n := s.node()
	if n.Quarantine == nil || n.Quarantine.Rule != "malformed" || n.Registered {
		t.Errorf("the node is %+v", n)
	}
	s.older(time.Hour)
	if s.garbled() == nil {
		t.Error("a sixth link was made")
	}
	s.handshakes(-1) // the same code again: nothing changes
	if s.node().Quarantine == nil {
		t.Error("the quarantine was lifted by a Set")
	}
	// Who is removed and comes back is still the same guest.
	kept := s.server.answerRecord("pulse").Record
	s.server.Remove("pulse")
	if s.server.recordOf("pulse", nil).life.Quarantined == nil {
		t.Error("the guest's record is not kept")
	}
	// So is one that another gateway is told of.
	again := newSceneOf(t, "one", kept)
	if again.node().Quarantine == nil {
		t.Error("a new gateway lets it in")
	}
	if r := again.server.answerLift(protocol.Request{Name: "pulse"}); r.Error != "" || again.node().Quarantine != nil {
		t.Errorf("lifted: %+v", again.node())
	}
	if other := newSceneOf(t, "two", kept); other.node().Quarantine != nil {
		t.Error("other code is kept off")
	}
}

// newSceneOf is a scene of a guest with a build and what was kept of it.
func newSceneOf(t *testing.T, build string, kept json.RawMessage) *scene {
	t.Helper()
	s := newScene(t)
	s.server.Remove("pulse")
	s.server.records = map[string]*record{}
	s.spec.Build, s.spec.Record = build, kept
	view, stand := listen(t), listen(t)
	s.spec.EPMD, s.spec.Host = addrOf(view), addrOf(stand)
	if _, _, err := s.server.Set(s.spec, map[netip.AddrPort]net.Listener{s.spec.EPMD: view, s.spec.Host: stand}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordThatCannotBeReadBeginsAnew(t *testing.T) {
	s := newSceneOf(t, "one", json.RawMessage(`{"atoms":[]}`))
	if n := s.node(); n.Quarantine != nil || n.Atoms != 0 {
		t.Errorf("the node is %+v", n)
	}
	s.linked()
}

func TestLiftOfAGuestThatIsGone(t *testing.T) {
	s := New(Config{})
	kept, err := json.Marshal(judge.Lifetime{Quarantined: &judge.Quarantine{Rule: "forged"}, Refusals: map[string]uint64{"name": 3}})
	if err != nil {
		t.Fatal(err)
	}
	r := s.answerLift(protocol.Request{Name: "pulse", Member: &protocol.Member{Record: kept}})
	life, err := judge.Resume(r.Record)
	if err = errors.Join(err, failure(r)); err != nil || life.Quarantined != nil || life.Refusals["name"] != 3 {
		t.Errorf("left is %s: %v", r.Record, err)
	}
	if r := s.answerRecord("nobody"); r.Error == "" {
		t.Error("something is known of nobody")
	}
}

func failure(r protocol.Response) error {
	if r.Error == "" {
		return nil
	}
	return errors.New(r.Error)
}

func TestRefusalsAreGathered(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	for range 5 {
		guest.send(t, said(t, "init", term.Tuple{term.Atom("stop"), term.Atom("stop")}))
	}
	guest.send(t, said(t, "sink", term.Atom("never_seen_before")))
	host.receive(t)
	text := map[string]string{} // by event, which come in no order
	for len(text) < 2 {
		if ev := <-s.events; ev.Kind == "record" || ev.Kind == "refused" {
			text[ev.Kind] = ev.Detail
		}
	}
	want := "5 messages of the guest refused: name 5; one of them: REG_SEND to init, rule name: {stop,stop}"
	if text["refused"] != want {
		t.Errorf("event says %q, want %q", text["refused"], want)
	}
	var life judge.Lifetime
	if err := json.Unmarshal(s.server.answerRecord("pulse").Record, &life); err != nil || !life.Atoms["never_seen_before"] || life.Refusals["name"] != 5 {
		t.Errorf("kept is %+v: %v", life, err)
	}
}

func TestSpeechIsBounded(t *testing.T) {
	var s speech
	for range 100 {
		s.add([]byte(strings.Repeat("x", 1000)))
	}
	text := string(s.take())
	if !strings.HasSuffix(text, fmt.Sprintf("[%d bytes more were cut off]\n", 100_000-maxSaid)) || len(text) > maxSaid+50 {
		t.Errorf("%d bytes, at the end %q", len(text), text[len(text)-50:])
	}
	if len(s.take()) != 0 {
		t.Error("it was said twice")
	}
}

func TestGuestThatDialsTooOften(t *testing.T) {
	s := newScene(t)
	s.boot()
	s.handshakes(2)
	for i := range 3 {
		err := s.garbled()
		if refused := err != nil; refused != (i == 2) {
			t.Fatalf("dial %d: %v", i+1, err)
		}
		s.older(time.Minute)
	}
	if ev := s.expect("link_error"); !strings.Contains(ev.Detail, "more often than its limit of handshakes a minute allows") {
		t.Errorf("event says %q", ev.Detail)
	}
	s.handshakes(-1)
	if err := s.garbled(); err != nil {
		t.Errorf("with the limit gone: %v", err)
	}
}

func TestHandshakesAMinute(t *testing.T) {
	for limit, want := range map[int]int{0: 6, 2: 2, -1: 20} {
		p := dialing(policy.Messages{Limits: policy.Limits{Handshakes: limit}})
		now, let := time.Unix(1_800_000_000, 0), 0
		for range 20 {
			if p.next(now, 0) == 0 {
				let++
			}
		}
		if let != want {
			t.Errorf("with limit %d the guest may dial %d times at once, want %d", limit, let, want)
		}
		if limit < 0 {
			continue
		}
		if now = now.Add(time.Minute / time.Duration(want)); p.next(now, 0) != 0 {
			t.Errorf("with limit %d the guest waits for longer than its share of a minute", limit)
		}
	}
}

func TestNewsSayWhatAuditWouldRefuse(t *testing.T) {
	n := news{refused: map[string]uint64{"name": 2, "fun": 1}}
	for mode, want := range map[policy.Mode]string{
		policy.Enforce: "3 messages of the guest refused: fun 1, name 2",
		policy.Audit:   "3 messages of the guest would be refused: fun 1, name 2",
	} {
		if got := n.text(mode); got != want {
			t.Errorf("%s: %q, want %q", mode, got, want)
		}
	}
}
