package distribution

import (
	"encoding/json"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/reconcile/app"
)

// recorded is a guest's record as the gateway encodes it.
func recorded(t *testing.T, l judge.Lifetime) []byte {
	t.Helper()
	b, err := json.Marshal(&l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatMustNotGetLostIsWrittenAtOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	base := func() judge.Lifetime {
		return judge.Lifetime{Atoms: map[string]bool{"a": true}, Refusals: map[string]uint64{"name": 1}}
	}
	for name, tc := range map[string]struct {
		change func(*judge.Lifetime)
		waits  bool
	}{
		"an atom":     {func(l *judge.Lifetime) { l.Atoms["b"] = true }, false},
		"a link":      {func(l *judge.Lifetime) { l.Closed = append(l.Closed, now) }, false},
		"quarantine":  {func(l *judge.Lifetime) { l.Quarantined = &judge.Quarantine{At: now, Rule: "size"} }, false},
		"identifiers": {func(l *judge.Lifetime) { l.NextPid = 1 << 18 }, false},
		"a counter":   {func(l *judge.Lifetime) { l.Refusals["name"] = 2 }, true},
		"a refusal":   {func(l *judge.Lifetime) { l.Recent = []judge.Refusal{{Rule: "name"}} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			before, after := base(), base()
			tc.change(&after)
			if !l.writes("pulse", recorded(t, before), now) {
				t.Fatal("the first one waits")
			}
			l.wrote("pulse", recorded(t, before), now)
			if l.writes("pulse", recorded(t, before), now.Add(time.Hour)) {
				t.Error("the same is written again")
			}
			if got := l.writes("pulse", recorded(t, after), now.Add(time.Second)); got == tc.waits {
				t.Errorf("written at once: %v", got)
			}
			// What waits is asked for again when it is due, and then written.
			name, _, _ := l.next(now.Add(countEvery - 1))
			again, _, _ := l.next(now.Add(countEvery))
			if name != "" || (again == "pulse") != tc.waits {
				t.Errorf("asked for again: before %q, then %q", name, again)
			}
			if !l.writes("pulse", recorded(t, after), now.Add(countEvery)) {
				t.Error("it is never written")
			}
		})
	}
}

// A gateway that tells of news all the time is asked once a second for each
// guest, and whoever was not asked for longest comes first.
func TestRecordsAreAskedForInTurn(t *testing.T) {
	var l ledger
	begin := time.Unix(1_800_000_000, 0)
	asked := map[app.Name]int{}
	for now := begin; now.Before(begin.Add(10 * time.Second)); now = now.Add(10 * time.Millisecond) {
		l.news("loud", now, askEvery)
		l.news("louder", now, askEvery)
		if now.Equal(begin.Add(5 * time.Second)) {
			l.news("quiet", now, askEvery)
		}
		for name, _, _ := l.next(now); name != ""; name, _, _ = l.next(now) {
			asked[name]++
		}
	}
	if asked["loud"] != 10 || asked["louder"] != 10 || asked["quiet"] != 1 {
		t.Errorf("asked for %v", asked)
	}
	if name, in, _ := l.next(begin.Add(9991 * time.Millisecond)); name != "" || in <= 0 || in > askEvery {
		t.Errorf("next is %q in %v", name, in)
	}
}

// A quarantine does not wait for the second since the last question to end.
func TestQuarantineIsAskedForAtOnce(t *testing.T) {
	var l ledger
	now := time.Unix(1_800_000_000, 0)
	for range 2 {
		l.news("pulse", now, askEvery)
		_, _, _ = l.next(now)
	}
	if name, _, _ := l.next(now.Add(askSoon)); name != "" {
		t.Fatal("asked for twice in a second")
	}
	l.news("pulse", now.Add(1), askSoon)
	if name, _, _ := l.next(now.Add(askSoon)); name != "pulse" {
		t.Error("the quarantine waits")
	}
}

func TestNewMembersAreAskedFor(t *testing.T) {
	var l ledger
	_, _, sooner := l.next(time.Now())
	l.named("pulse", "pulse@vm")
	if name, _, _ := l.next(time.Now()); name != "" {
		t.Error("asked for before it is a member")
	}
	l.ensured("pulse")
	<-sooner
	if name, _, _ := l.next(time.Now()); name != "pulse" {
		t.Error("a new member is not asked for")
	}
	l.ensured("pulse")
	if name, in, _ := l.next(time.Now()); name != "" || in != 0 {
		t.Errorf("an old one is asked for again: %q in %v", name, in)
	}
}
