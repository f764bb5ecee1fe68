package policy

import (
	"errors"
	"testing"
)

func TestMessagesCheck(t *testing.T) {
	const regSend, monitor, send = 6, 19, 2
	for name, tc := range map[string]struct {
		msg  Message
		rule string
	}{
		"guest's global greets":       {Message{GuestToHost, regSend, GlobalServer}, RuleGlobal},
		"host's global greets":        {Message{HostToGuest, regSend, GlobalServer}, RuleGlobal},
		"guest watches global":        {Message{GuestToHost, monitor, GlobalServer}, RuleGlobal},
		"guest asks net_kernel":       {Message{GuestToHost, regSend, "net_kernel"}, ""},
		"guest sends to a process":    {Message{GuestToHost, send, ""}, ""},
		"host sends to a guest's app": {Message{HostToGuest, regSend, "pulse"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := Messages{}.Check(tc.msg)
			var r *Refusal
			switch {
			case tc.rule == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.rule != "" && (!errors.As(err, &r) || r.Rule != tc.rule):
				t.Errorf("got %v, want a refusal by rule %s", err, tc.rule)
			}
		})
	}
}
