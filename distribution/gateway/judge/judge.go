// Package judge decides, frame by frame, what a guest and its host VM may say
// to each other. It is a state machine without I/O, clock or goroutines: one
// Judge for each link, fed with the frames of both directions.
//
// The default is to refuse. A guest may answer what the host asked, take part
// in the process groups and topics that policy names, and send what an
// operator's rule allows. Rights are typed and learnt from what the host sends:
// an outstanding call can be answered once, by its callee's node, with its tag;
// a group leader that came with a spawn is a place for text and nothing else.
// The host's processes and references are shown to a guest under numbers of
// the link's own, so that a guest cannot name what it was never shown.
//
// A refused message is counted under one of these rules:
//
//	malformed      closes   no frame of the protocol, or bytes that are no term
//	tag            closes   compressed, node-local, obsolete or unknown kinds of terms
//	opcode         closes   a control message that was not agreed on (4, 37, unknown)
//	trace-token    closes   a control message with a trace token
//	forged         closes   a sender that is no process of this guest's incarnation, a monitor whose
//	                        reference is not the guest's own, or is held already
//	size           closes   a frame over the limit
//	slow           closes   a guest that does not take what the host VM sends it
//	depth nodes integer     a term nested too deep, of too many parts, an integer too large
//	fun port                a fun, an export or a port inside a message
//	foreign                 an identifier of a third node or of another incarnation of the guest
//	unknown                 a host identifier that this link never showed
//	atoms                   atoms new to the host VM beyond the guest's budget
//	name                    a message to a registered name that no rule allows
//	message                 a message that the rules for its name do not match
//	rate                    more messages than an operator's rule grants, or more discoveries of a
//	                        process group server than it answers at ease
//	process                 a message to a process that the guest has no right to
//	reply                   an answer to nothing that was asked, or not of the right form
//	spawn                   a request to start a process; answered notsup
//	spawn-reply             an answer to no outstanding spawn
//	monitor                 a monitor on what is not the guest's business; answered noproc
//	down                    news of a monitor that the host does not hold
//	link                    a link, or news of one that the host did not make; answered noproc
//	exit                    an exit signal to a process
//	group-leader            a change of a process's group leader
//	pg                      a message to a process group server that it could not bear
//	group                   a process group that policy does not name
//	topic dispatcher shape  a broadcast of another topic, dispatcher, or with a message inside that
//	                        would be taken for the system's own
//	grants                  more monitors than the guest may hold, or more of a process group
//	global                  traffic of OTP's global; answered in_sync (both directions)
//	features                OTP's own question for features (both directions); harmless
//	logger                  a log event for the host; goes to the guest's log; harmless
//
// The host VM is trusted: its frames pass, apart from topics and groups of
// others (topic, group), global, features, and what cannot be read (unread).
package judge

import (
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// Config is what a Judge needs to know about its link.
type Config struct {
	Guest, Host wire.Identity // as the handshakes gave them, the flags those each side announced
	Messages    policy.Messages
	Exposed     bool // show the host's identifiers to the guest as they are
}

// Action is what becomes of a judged frame.
type Action uint8

// The actions of a Verdict.
const (
	Pass  Action = iota // write Forward to the other side
	Drop                // nothing goes to the other side
	Close               // end both legs
)

// Frame is one frame in two parts that belong together: Payload may be nil.
type Frame struct{ Head, Payload []byte }

// Verdict is what to do about one frame. Forward, Answer and Log stay valid
// until the next frame of the same direction is judged.
type Verdict struct {
	Action  Action
	Forward []Frame       // for the other side
	Answer  []Frame       // for the side that sent it
	Log     []byte        // text for the guest's log
	Rule    string        // what was refused, "" when nothing was
	Refusal Refusal       // the same in detail, when Rule is not empty
	Wait    time.Duration // before the sender is read from again, to hold it to its rate
}

// Judge holds the state of one link. Its methods must not run at the same
// time, but what FromGuest returned may be written while FromHost runs, and
// the other way round.
type Judge struct {
	cfg    Config
	names  walk.Names
	limits policy.Limits
	rules  *rules
	life   *Lifetime

	guest, host walk.Walker
	out         [2]outbox
	why         string // set by the walkers' callbacks
	pending     map[string]struct{}
	seen        map[string]struct{} // atoms that the host is known to have

	pids    table[walk.Pid]
	refs    table[walk.Ref]
	rights  rights
	scopes  map[string]*scope
	workers map[walk.Pid]*worker
	synced  [2]bool

	heads head
	turns [2]turn

	messages, bytes, renders bucket
}

// New is the judge of a new link. Lifetime is the guest's, kept from its
// earlier links; it is written to while the link is judged. The error is that
// of a pattern in the messages' rules.
func New(cfg Config, life *Lifetime) (*Judge, error) {
	life.init()
	j := &Judge{
		cfg: cfg, names: walk.Names{Guest: cfg.Guest.Name, Host: cfg.Host.Name}, life: life,
		pending: map[string]struct{}{}, seen: map[string]struct{}{}, workers: map[walk.Pid]*worker{},
	}
	if cfg.Guest.Name == cfg.Host.Name || cfg.Guest.Name == "" || cfg.Host.Name == "" {
		return nil, fmt.Errorf("judge link: guest %q and host %q are not two nodes", cfg.Guest.Name, cfg.Host.Name)
	}
	j.pids.init(&life.NextPid)
	j.refs.init(&life.NextRef)
	for _, a := range commonAtoms() {
		j.seen[a] = struct{}{}
	}
	j.guest = walk.Walker{Names: j.names, Depth: 64, Bytes: 256, Atom: j.guestAtom, Pid: j.guestPid, Ref: j.guestRef}
	j.host = walk.Walker{Names: j.names, Depth: 256, Nodes: 1 << 30, Bytes: 1 << 30, Lenient: true, Atom: j.hostAtom, Pid: j.hostPid, Ref: j.hostRef}
	if err := j.Set(cfg.Messages); err != nil {
		return nil, err
	}
	return j, nil
}

// Set replaces the policy of a live link. Groups that are named before and
// after keep their members. A change from or to Enforce needs a new link, since
// the guest knows the host's identifiers by other numbers: it is an error.
func (j *Judge) Set(m policy.Messages) error {
	exposed := j.cfg.Exposed || m.Mode == policy.Audit || m.Mode == policy.Trusted
	if j.rules != nil && exposed != j.pids.exposed {
		return errors.New("set messages: the mode can only change with a new link")
	}
	r, err := compile(m)
	if err != nil {
		return fmt.Errorf("set messages: %w", err)
	}
	r.carry(j.rules)
	j.rules, j.cfg.Messages, j.limits = r, m, m.Limits.WithDefaults()
	j.pids.exposed, j.refs.exposed = exposed, exposed
	j.guest.Nodes = unbounded(j.limits.Nodes)
	j.rights.limit(j, unbounded(j.limits.Grants))
	j.messages.set(float64(j.limits.Messages))
	j.bytes.set(float64(j.limits.Bytes))
	j.renders.set(20)
	j.regroup()
	return nil
}

// unbounded turns a negative limit into one that is never reached.
func unbounded(n int) int {
	if n < 0 {
		return 1 << 30
	}
	return n
}

func (j *Judge) mode() policy.Mode { return j.cfg.Messages.Mode }

// outbox holds the frames of one verdict in memory that is used again.
type outbox struct {
	forward, answer []Frame
	bufs            [][]byte
	used            int
	log             []byte
}

func (o *outbox) reset() {
	o.forward, o.answer, o.log, o.used = o.forward[:0], o.answer[:0], o.log[:0], 0
}

// buf is an empty buffer; keep must be given what became of it.
func (o *outbox) buf() []byte {
	if o.used == len(o.bufs) {
		o.bufs = append(o.bufs, make([]byte, 0, 128))
	}
	return o.bufs[o.used][:0]
}

func (o *outbox) keep(b []byte) []byte {
	if cap(b) <= 16<<10 {
		o.bufs[o.used] = b
		o.used++
	}
	return b
}
