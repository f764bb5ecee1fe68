package status

import "time"

// Quarantine says since when and why a guest is stopped for what it sent, until
// that is lifted or it has other code.
type Quarantine struct {
	At     time.Time `json:"at"`
	Rule   string    `json:"rule"`   // that it broke last
	Closed int       `json:"closed"` // links that had to be closed within ten minutes
}

// Member is one guest as the gateway has it: its link, and what became of what
// it sent.
type Member struct {
	App        string            `json:"app"`
	Node       string            `json:"node"`
	Mode       string            `json:"mode"` // enforce, audit or trusted
	Registered bool              `json:"registered"`
	Up         bool              `json:"up"`
	Since      time.Time         `json:"since,omitzero"` // of Up
	Error      string            `json:"error,omitempty"`
	Refused    map[string]uint64 `json:"refused,omitempty"`  // messages, by rule
	Refusals   []Refusal         `json:"refusals,omitempty"` // the last ones, oldest first
	Atoms      int               `json:"atoms"`              // that it brought to the host VM
	AtomBudget int               `json:"atom_budget"`        // negative: no limit
	Rights     map[string]int    `json:"rights,omitempty"`   // held on this link, by kind
	Closed     int               `json:"closed"`             // links closed within ten minutes for what it sent
	NextTry    time.Time         `json:"next_try,omitzero"`
	Quarantine *Quarantine       `json:"quarantine,omitempty"`
}

// Reason is one thing that an app may have or do, or may not, and why.
type Reason struct {
	What    string `json:"what"`
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
}

// Question is about one message of a guest. With no Kind it is about all that
// the app may have.
type Question struct {
	Kind    string // call, cast, info or broadcast
	To      string // a registered name; for a broadcast, a PubSub
	Message string // in Erlang's syntax; for a broadcast, the topic
}

// Description is everything that is known of one app.
type Description struct {
	App     App      `json:"app"`
	Spec    []Field  `json:"spec,omitempty"`   // what its app.config asks for; nothing when there is none
	Grants  []Reason `json:"grants,omitempty"` // what policy makes of that
	Gateway *Member  `json:"gateway,omitempty"`
	Events  []Event  `json:"events,omitempty"`  // the last ones, oldest first
	Exits   []Event  `json:"exits,omitempty"`   // the last ends of its guest
	Failure *Failure `json:"failure,omitempty"` // the last one; nil when it is over
}

// Field is one key of an app.config, by path, and its value as text.
type Field struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Failure is why an app had to be tried again, and how often in a row.
type Failure struct {
	Count     int       `json:"count"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail"`
	NextRetry time.Time `json:"next_retry,omitzero"`
}
