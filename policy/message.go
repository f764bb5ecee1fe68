package policy

// Direction is the way a distribution frame travels.
type Direction uint8

// The two directions through the gateway.
const (
	GuestToHost Direction = iota
	HostToGuest
)

// Message is one distribution control message as the gateway decoded it.
type Message struct {
	Direction Direction
	Op        uint8  // control message number (erl_dist_protocol, "Protocol between connected nodes")
	ToName    string // registered name of the destination, "" when it is a pid or alias
}

// Messages is what a guest and its host may say to each other.
type Messages struct{}

// Refusal says why a message did not pass; Rule is a stable identifier that
// counters and logs use.
type Refusal struct{ Rule, Detail string }

func (r *Refusal) Error() string { return r.Rule + ": " + r.Detail }

// Check returns nil when msg may pass, else a *Refusal.
func (m Messages) Check(msg Message) error { return nil }
