package policy

import (
	"slices"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Direction is the way a distribution frame travels.
type Direction uint8

// The two directions through the gateway.
const (
	GuestToHost Direction = iota
	HostToGuest
)

// GlobalServer is the registered name that OTP's global listens at.
const GlobalServer = "global_name_server"

// The rules that a message can be refused by, as counters and logs name them.
const (
	RuleGlobal = "global" // to or from global_name_server, both ways
)

// Message is one distribution control message as the gateway decoded it.
type Message struct {
	Direction Direction
	Op        uint8  // control message number (erl_dist_protocol, "Protocol between connected nodes")
	ToName    string // registered name of the destination, "" when it is a pid or alias
}

// Mode says what becomes of a message that the rules refuse.
type Mode string

// The modes of a guest's gateway. The empty one is Enforce.
const (
	Enforce Mode = "enforce" // it does not pass
	Audit   Mode = "audit"   // it passes and is reported, to learn what a migration needs
	Trusted Mode = "trusted" // nothing is judged: the guest is trusted as much as the host VM
)

// Messages is what a guest and its host may say to each other beyond what the
// protocol itself needs (calls that the host makes, and their answers). The
// zero value enforces that nothing more passes. It holds text and numbers
// only, so that it can be sent and compared.
type Messages struct {
	Mode    Mode     `json:"mode,omitempty"`
	PubSubs []PubSub `json:"pubsubs,omitempty"`
	Groups  []Groups `json:"groups,omitempty"`
	Allow   []Allow  `json:"allow,omitempty"`
	Limits  Limits   `json:"limits,omitzero"`
}

// PubSub is a Phoenix.PubSub that guest and host share: its processes may find
// each other through pg, and broadcasts of the topics pass, both ways.
type PubSub struct {
	Name        string   `json:"name"`                  // "Elixir.DemoUptime.PubSub"
	Topics      []string `json:"topics,omitempty"`      // "stats:updates"; "stats:*" is every topic that begins so
	Dispatchers []string `json:"dispatchers,omitempty"` // modules; empty: Elixir.Phoenix.PubSub
	Pool        int      `json:"pool,omitempty"`        // pool_size of either side, 0: up to 16
}

// Groups are process groups of one pg scope that the guest may join. Names are
// atoms. Message is a pattern, see Pattern: what of that shape the guest may
// send to the host VM's members of the groups; empty: nothing.
type Groups struct {
	Scope   string   `json:"scope"`
	Names   []string `json:"names"`
	Message string   `json:"message,omitempty"`
}

// Limits bounds what a guest may do to the gateway and to the host VM. Zero
// means the default, a negative number none.
type Limits struct {
	Frame    int `json:"frame,omitempty"`    // bytes of a message, 8 MiB
	Nodes    int `json:"nodes,omitempty"`    // terms in a message, 200 000
	Atoms    int `json:"atoms,omitempty"`    // atoms that are new to the host VM, over the guest's life, 2000
	Messages int `json:"messages,omitempty"` // a second, 2000; more are delayed, not lost
	Bytes    int `json:"bytes,omitempty"`    // a second, 16 MiB; more are delayed, not lost
	Monitors int `json:"monitors,omitempty"` // held on the host VM at one time, 256
	Grants   int `json:"grants,omitempty"`   // outstanding rights of each kind, 10 000
	// Handshakes is how often a minute the guest may dial the host VM, 6.
	Handshakes int `json:"handshakes,omitempty"`
	// Closes is how many links may have to be closed for what the guest sent,
	// within ten minutes, until it is quarantined, 5; never when negative.
	Closes int `json:"closes,omitempty"`
}

// What can be remembered of a guest, and so the largest limits of its kind.
const (
	MostAtoms  = 1 << 16
	MostCloses = 64
)

// WithDefaults is l with every zero replaced.
func (l Limits) WithDefaults() Limits {
	return Limits{
		Frame: orElse(l.Frame, 8<<20), Nodes: orElse(l.Nodes, 200_000), Atoms: orElse(l.Atoms, 2000),
		Messages: orElse(l.Messages, 2000), Bytes: orElse(l.Bytes, 16<<20),
		Monitors: orElse(l.Monitors, 256), Grants: orElse(l.Grants, 10_000),
		Handshakes: orElse(l.Handshakes, 6), Closes: orElse(l.Closes, 5),
	}
}

// Refusal says why a message did not pass; Rule is a stable identifier that
// counters and logs use.
type Refusal struct{ Rule, Detail string }

func (r *Refusal) Error() string { return r.Rule + ": " + r.Detail }

// Check returns nil when msg may pass, else a *Refusal. It holds for every
// mode, trusted guests included.
func (m Messages) Check(msg Message) error {
	// With OTP's defaults a host's global tells its guests of each other; when
	// they then fail to connect, it disconnects them all ("prevent overlapping
	// partitions", kernel's global). So no global hears of another one.
	if msg.ToName == GlobalServer {
		return &Refusal{Rule: RuleGlobal, Detail: "global's traffic does not cross between guest and host"}
	}
	return nil
}

// Defaults is what the components of an app's own env grant: the pubsub and
// the topic of each entry of liveview_components. A topic that would stand for
// others, as an operator may write it, grants nothing.
func Defaults(env map[string]term.Term) []PubSub {
	var all []PubSub
	for _, c := range app.Components(env) {
		if c.PubSub != "" && c.Topic != "" && !strings.HasSuffix(c.Topic, "*") {
			all = addTopic(all, c.PubSub, c.Topic)
		}
	}
	return all
}

func addTopic(all []PubSub, name, topic string) []PubSub {
	for i := range all {
		if all[i].Name == name {
			all[i].Topics = append(all[i].Topics, topic)
			return all
		}
	}
	return append(all, PubSub{Name: name, Topics: []string{topic}})
}

// Shares says whether the operator named a PubSub for an app: then its
// components may, too, whoever's it is.
func (r Rules) Shares(name app.Name, pubsub string) bool {
	return slices.ContainsFunc(r.Messages[name].PubSubs, func(p PubSub) bool { return p.Name == pubsub })
}

// messages is what the operator allows and what the app's components need.
func (r Rules) messages(spec app.Spec) Messages {
	m := r.Messages[spec.Name]
	own := Defaults(spec.Env)
	m.PubSubs = slices.Clone(m.PubSubs)
	for i, p := range m.PubSubs {
		for _, c := range own {
			if c.Name == p.Name {
				m.PubSubs[i].Topics = slices.Concat(p.Topics, c.Topics)
			}
		}
	}
	for _, c := range own {
		if !slices.ContainsFunc(m.PubSubs, func(p PubSub) bool { return p.Name == c.Name }) {
			m.PubSubs = append(m.PubSubs, c)
		}
	}
	return m
}
