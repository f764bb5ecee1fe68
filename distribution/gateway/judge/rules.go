package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"beamsandbox/policy"
)

// The rules that a message can be refused by; the package's doc says what each
// means.
const (
	ruleMalformed   = "malformed"
	ruleTag         = "tag"
	ruleOpcode      = "opcode"
	ruleToken       = "trace-token"
	ruleForged      = "forged"
	ruleSize        = "size"
	ruleSlow        = "slow"
	ruleDepth       = "depth"
	ruleNodes       = "nodes"
	ruleInteger     = "integer"
	ruleFun         = "fun"
	rulePort        = "port"
	ruleForeign     = "foreign"
	ruleUnknown     = "unknown"
	ruleAtoms       = "atoms"
	ruleName        = "name"
	ruleMessage     = "message"
	ruleRate        = "rate"
	ruleProcess     = "process"
	ruleReply       = "reply"
	ruleSpawn       = "spawn"
	ruleSpawnReply  = "spawn-reply"
	ruleMonitor     = "monitor"
	ruleDown        = "down"
	ruleLink        = "link"
	ruleExit        = "exit"
	ruleGroupLeader = "group-leader"
	rulePG          = "pg"
	ruleGroup       = "group"
	ruleTopic       = "topic"
	ruleDispatcher  = "dispatcher"
	ruleShape       = "shape"
	ruleGrants      = "grants"
	ruleFeatures    = "features"
	ruleLogger      = "logger"
	ruleUnread      = "unread"
)

const (
	pubSubScope       = "Elixir.Phoenix.PubSub"
	pubSubDispatcher  = "Elixir.Phoenix.PubSub"
	channelDispatcher = "Elixir.Phoenix.Channel.Server"
	// defaultPool is how many adapters of a PubSub are known when policy does
	// not say how many there are.
	defaultPool = 16
)

// rules is the policy of a guest, ready to be asked.
type rules struct {
	groups   map[string]map[string]bool // by scope
	channels map[string]*channel        // by adapter, which is group and registered name
	members  map[home]*channel          // by group of any other scope
	allow    map[string][]*allowed      // by registered name
}

// home is where processes of the host are found that a guest may send to.
type home struct{ scope, group string }

func (h home) compare(other home) int {
	return cmp.Or(strings.Compare(h.scope, other.scope), strings.Compare(h.group, other.group))
}

// channel is what may be sent to a group's members, nil when nothing may.
func (r *rules) channel(h home) *channel {
	if h.scope == pubSubScope {
		return r.channels[h.group]
	}
	return r.members[h]
}

// channel is what may be broadcast through one PubSub, or sent to the members
// of another group.
type channel struct {
	message     *allowed // of another group
	topics      map[string]bool
	prefixes    []string
	dispatchers map[string]bool
}

func (c *channel) topic(t []byte) bool {
	if c.topics[string(t)] {
		return true
	}
	for _, p := range c.prefixes {
		if len(t) >= len(p) && string(t[:len(p)]) == p {
			return true
		}
	}
	return false
}

// allowed is one rule of an operator.
type allowed struct {
	policy.Allow
	pattern policy.Pattern
	bucket  bucket
}

// limit sets the rule's rate and keeps what is left of it.
func (a *allowed) limit() {
	if a.bucket.set(float64(a.Rate)); a.Rate == 0 {
		a.bucket.rate = -1
	}
}

// carry takes over what is left of the rates of rules that were there before.
func (r *rules) carry(before *rules) {
	if before == nil {
		return
	}
	for name, all := range r.allow {
		left := slices.Clone(before.allow[name])
		for _, a := range all {
			i := slices.IndexFunc(left, a.same)
			if i < 0 {
				continue
			}
			a.bucket = left[i].bucket
			a.limit()
			left = slices.Delete(left, i, i+1)
		}
	}
}

// same says whether two rules are about the same messages.
func (a *allowed) same(b *allowed) bool { return a.Kind == b.Kind && a.Message == b.Message }

func compile(m policy.Messages) (*rules, error) {
	r := &rules{groups: map[string]map[string]bool{}, channels: map[string]*channel{}, members: map[home]*channel{}, allow: map[string][]*allowed{}}
	for _, g := range m.Groups {
		r.group(g.Scope, g.Names...)
		if err := r.sendable(g); err != nil {
			return nil, err
		}
	}
	for _, p := range m.PubSubs {
		r.pubSub(p)
	}
	for _, a := range m.Allow {
		p, err := policy.ParsePattern(a.Message)
		if err != nil {
			return nil, fmt.Errorf("allow %s to %s: %w", a.Kind, a.To, err)
		}
		rule := &allowed{Allow: a, pattern: p}
		rule.limit()
		r.allow[a.To] = append(r.allow[a.To], rule)
	}
	return r, nil
}

func (r *rules) group(scope string, names ...string) {
	if r.groups[scope] == nil {
		r.groups[scope] = map[string]bool{}
	}
	for _, n := range names {
		r.groups[scope][n] = true
	}
}

// sendable lets messages of the groups' shape go to their members. Members of
// PubSub's scope get broadcasts and nothing else.
func (r *rules) sendable(g policy.Groups) error {
	if g.Message == "" || g.Scope == pubSubScope {
		return nil
	}
	p, err := policy.ParsePattern(g.Message)
	if err != nil {
		return fmt.Errorf("groups of %s: %w", g.Scope, err)
	}
	for _, n := range g.Names {
		h := home{g.Scope, n}
		r.members[h] = &channel{message: &allowed{Allow: policy.Allow{Message: g.Message}, pattern: p}}
	}
	return nil
}

func (r *rules) pubSub(p policy.PubSub) {
	c := &channel{topics: map[string]bool{}, dispatchers: map[string]bool{}}
	for _, t := range p.Topics {
		if prefix, ok := strings.CutSuffix(t, "*"); ok {
			c.prefixes = append(c.prefixes, prefix)
		} else {
			c.topics[t] = true
		}
	}
	for _, d := range p.Dispatchers {
		c.dispatchers[d] = true
	}
	if len(p.Dispatchers) == 0 {
		c.dispatchers[pubSubDispatcher] = true
	}
	pool := p.Pool
	if pool <= 0 {
		pool = defaultPool
	}
	for i := 1; i <= pool; i++ {
		adapter := p.Name + ".Adapter"
		if i > 1 {
			adapter += "_" + strconv.Itoa(i)
		}
		r.group(pubSubScope, adapter)
		r.channels[adapter] = c
	}
}

// callable says whether the guest may call a registered name, and so watch it.
func (r *rules) callable(name []byte) bool {
	for _, a := range r.allow[string(name)] {
		if a.Kind == policy.Call {
			return true
		}
	}
	return false
}

// commonAtoms are atoms that every host VM has.
func commonAtoms() []string {
	return strings.Fields(`ok error true false nil undefined yes no normal shutdown killed kill noproc noconnection
		timeout badarg badarith badmatch badmap badkey badrpc function_clause case_clause if_clause undef infinity
		alias return throw exit reason stop start init info debug warning notice name node pid self value key data
		type id file line module function args message msg event topic payload result state status count total time
		memory processes atom binary code ets system node_name join leave discover sync forward_to_local gen_server
		gen_event supervisor erlang erpc rpc lists maps application kernel stdlib elixir __struct__ __exception__
		Elixir.Phoenix.PubSub Elixir.Phoenix.Channel.Server Elixir.Phoenix.Socket.Broadcast Elixir.String Elixir.Enum
		Elixir.DateTime Elixir.Map Elixir.RuntimeError Elixir.ArgumentError`)
}
