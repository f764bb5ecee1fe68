//go:build integration

package integration

import (
	"slices"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// TestGroupsOfOthers: guests that policy lets share a PubSub are in it both;
// one that knows its name, and has no grant, neither hears nor says anything in
// it, while its own PubSub works. Topics that nobody granted stay at home.
func TestGroupsOfOthers(t *testing.T) {
	w.haveLegit(t, "other")
	other, north, south := w.pair(t, "other"), w.pair(t, "north"), w.pair(t, "south")
	for _, p := range []*pair{north, south} {
		p.eventually(t, p.onHost, "legit_pubsub:peers('Elixir.Demo.One', GUEST)", "[1]")
	}
	other.broadcasts(t)
	other.clean(t)

	other.try(t, []line{
		{"legit_desk:heard(), ok", "ok"},
		{"legit_pubsub:peers('Elixir.Demo.One', GUEST)", "[0]"},
		{"guest: legit_pubsub:peers('Elixir.Demo.One', HOST)", "[0]"},
		{"guest: pg:join('Elixir.Phoenix.PubSub', 'Elixir.Demo.One.Adapter', whereis(legit_desk))", "ok"},
		{"guest: legit_pubsub:direct_broadcast('Elixir.Demo.One', HOST, <<\"stats:updates\">>, stolen, 'Elixir.Phoenix.PubSub')", "ok"},
		{"guest: legit_pubsub:broadcast('Elixir.Demo.Own', <<\"stats:updates\">>, last, 'Elixir.Phoenix.PubSub')", "ok"},
		{"legit_desk:heard(1)", "[last]"}, // it came behind those
		{"legit_pubsub:peers('Elixir.Demo.One', GUEST)", "[0]"},
	})
	for _, p := range []*pair{other, south} {
		p.try(t, []line{{"guest: legit_desk:heard(), ok", "ok"}})
	}
	south.try(t, []line{
		{"legit_pubsub:broadcast('Elixir.Demo.One', <<\"secret\">>, hidden, 'Elixir.Phoenix.PubSub')", "ok"},
		{"legit_pubsub:broadcast('Elixir.Demo.One', <<\"room:1\">>, shown, 'Elixir.Phoenix.PubSub')", "ok"},
		{"legit_pubsub:broadcast('Elixir.Demo.Own', <<\"room:1\">>, own, 'Elixir.Phoenix.PubSub')", "ok"},
		{"guest: legit_desk:heard(1)", "[shown]"},
	})
	other.try(t, []line{{"guest: legit_desk:heard(1)", "[own]"}})
	must(t, w.daemon.Await(within(t, time.Minute), "what was not granted is counted", func(h status.Host) bool {
		refused := appOf(h, "other").Refused
		return refused["group"] > 0 && refused["name"] > 0 && appOf(h, "south").Refused["topic"] > 0
	}))
	w.stopOther(t)
}

// stopOther: a guest that is not asked for any more is missed by the host VM,
// once, and nobody else is.
func (w *world) stopOther(t *testing.T) {
	t.Helper()
	before := len(changes(t))
	w.haveLegit(t)
	if got, want := changes(t)[before:], []string{"{nodedown," + w.Node("other") + "}"}; !slices.Equal(got, want) {
		t.Errorf("the host VM saw %v, want %v", got, want)
	}
}
