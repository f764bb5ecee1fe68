package policy

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

// Messages is what a guest and its host may say to each other. The zero value
// passes everything but the traffic of global.
type Messages struct{}

// Refusal says why a message did not pass; Rule is a stable identifier that
// counters and logs use.
type Refusal struct{ Rule, Detail string }

func (r *Refusal) Error() string { return r.Rule + ": " + r.Detail }

// Check returns nil when msg may pass, else a *Refusal. The gateway asks it
// about every frame in both directions, so this is the one place where what
// guests and host say to each other is decided.
func (m Messages) Check(msg Message) error {
	// With OTP's defaults a host's global tells its guests of each other; when
	// they then fail to connect, it disconnects them all ("prevent overlapping
	// partitions", kernel's global). So no global hears of another one.
	if msg.ToName == GlobalServer {
		return &Refusal{Rule: RuleGlobal, Detail: "global's traffic does not cross between guest and host"}
	}
	return nil
}
