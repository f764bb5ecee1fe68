package main

import (
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

func TestMessagesOfAGuest(t *testing.T) {
	a := status.App{Name: "pulse", Messages: "trusted", Refusals: []status.Refusal{
		{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rule: "name", Op: "REG_SEND", To: "init", Message: "{stop,stop}"},
		{At: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Rule: "topic", ToGuest: true},
	}}
	var one, all strings.Builder
	writeApp(&one, a, time.Now())
	writeApps(&all, []status.App{a, {Name: "counter"}}, time.Now())
	for _, want := range []string{
		"TRUSTED: nothing is judged", "03:04:05 guest's REG_SEND to init, rule name: {stop,stop}", "03:04:06 host's - to -, rule topic:",
	} {
		if !strings.Contains(one.String(), want) {
			t.Errorf("status pulse lacks %q:\n%s", want, one.String())
		}
	}
	if !strings.Contains(all.String(), "messages of pulse: TRUSTED") || strings.Contains(all.String(), "messages of counter") {
		t.Errorf("status:\n%s", all.String())
	}
}
