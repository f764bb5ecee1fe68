package gateway

import (
	"fmt"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// open makes the link's judge. What the guest did over its earlier links
// counts.
func (l *link) open() error {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := judge.New(l.judgeConfig(), &r.life)
	l.judge = j
	return err
}

func (l *link) judgeConfig() judge.Config {
	return judge.Config{Guest: l.guest.id, Host: l.host.id, Messages: l.m.spec().Messages}
}

// forward sends what a verdict lets through.
func (l *link) forward(v judge.Verdict, to *leg) error {
	for _, f := range v.Forward {
		if err := to.send(f.Head, f.Payload); err != nil {
			return writeError{err}
		}
	}
	return nil
}

// reply sends what the gateway answers itself, or returns why the link must
// end.
func (l *link) reply(v judge.Verdict, from *leg) error {
	for _, f := range v.Answer {
		if err := from.send(f.Head, f.Payload); err != nil {
			return err
		}
	}
	if v.Action == judge.Close {
		return fmt.Errorf("broke rule %s", v.Rule)
	}
	return nil
}

// admit says why a frame of size bytes cannot come, before it does. The judge is
// asked first: what no rule counts would bring a guest no backoff.
func (l *link) admit(dir policy.Direction, size int) error {
	if dir == policy.GuestToHost {
		if rule := l.announced(size); rule != "" {
			return fmt.Errorf("broke rule %s", rule)
		}
	}
	if size > wire.DefaultMaxFrame {
		return fmt.Errorf("message of %d bytes is over the limit of %d", size, wire.DefaultMaxFrame)
	}
	return nil
}

// announced is the rule that a frame of the guest breaks by its size alone.
func (l *link) announced(size int) (rule string) {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	v := l.judge.Announced(time.Now(), size)
	r.learn(l.m, v)
	if v.Action != judge.Close {
		return ""
	}
	return v.Rule
}

// slow has it counted that the link ends since the guest holds up the host VM.
func (l *link) slow() {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learn(l.m, l.judge.Slow(time.Now()))
}

// verdict judges one frame. Both directions share the judge, and all links of
// a guest its record.
func (l *link) verdict(dir policy.Direction, frame []byte) judge.Verdict {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	var v judge.Verdict
	if dir == policy.HostToGuest {
		v = l.judge.FromHost(time.Now(), frame)
	} else {
		v = l.judge.FromGuest(time.Now(), frame)
	}
	r.learn(l.m, v)
	return v
}

// set changes the policy of a live link, or says why only a new link can.
func (l *link) set(m policy.Messages) error {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.judge == nil {
		return nil // it will be made from the new policy
	}
	return l.judge.Set(m)
}

// hold makes the sender wait, so that it keeps to its rate.
func (l *link) hold(d time.Duration, from, to *leg) error {
	if err := l.flush(from, to); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ended:
	case <-l.paused(): // the budget remembers
	}
	return nil
}
