// Package telemetry names what the reconciler does as bc_gitops names it, and
// has the host VM's telemetry(3) execute it there.
package telemetry

import (
	"time"

	"beamsandbox/distribution/term"
)

// Event is telemetry:execute([bc_gitops, Scope, What], Measurements, Metadata).
type Event struct {
	Scope, What string        // "deploy", "stop"
	App         string        // also in Metadata; "" for events of no app
	Took        time.Duration // measurement duration; negative: there is none
	Err         error         // of an end that went wrong
	Metadata    term.Map
}

// NoTime is Took of an event that measures nothing.
const NoTime time.Duration = -1

// Events lists what is emitted, in bc_gitops's names and words. Durations are
// in native time units of the host VM, which are nanoseconds on Linux.
func Events() []string {
	return []string{
		"reconcile start", "reconcile stop", "reconcile error",
		"git pull", "parse start", "parse stop",
		"deploy start", "deploy stop", "upgrade start", "upgrade stop", "remove start", "remove stop",
		"build start", "build stop", "code load", "code purge",
		"vm spawn_start", "vm spawn_stop", "vm stop_start", "vm stop_stop",
		"cluster node_up", "cluster node_down", "health check",
	}
}

// name is the event's name, a list of atoms.
func (e Event) name() term.Term {
	return term.List{Elems: []term.Term{term.Atom("bc_gitops"), term.Atom(e.Scope), term.Atom(e.What)}}
}

// measurements is a map, empty when nothing was measured.
func (e Event) measurements() term.Term {
	if e.Took < 0 {
		return term.Map{}
	}
	return term.Map{{Key: term.Atom("duration"), Value: term.Int(e.Took.Nanoseconds())}}
}

// metadata is what describes the event, with its app.
func (e Event) metadata() term.Term {
	var m term.Map
	if e.App != "" {
		m = append(m, term.Pair{Key: term.Atom("app"), Value: term.Atom(e.App)})
	}
	return append(m, e.Metadata...)
}

// Meta makes metadata of keys and values in turn: Meta("node", term.Atom("a@b")).
func Meta(pairs ...any) term.Map {
	var m term.Map
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		m = append(m, term.Pair{Key: term.Atom(key), Value: pairs[i+1]})
	}
	return m
}

// maxReason bounds the text of an error, in bytes.
const maxReason = 1000

// Reason is an error as the metadata of an event has it.
func Reason(err error) term.Term {
	text := err.Error()
	return term.Binary(text[:min(len(text), maxReason)])
}
