package netns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"beamsandbox/policy"
)

// What the counters are called. Those of the guest's own table say what was
// tried from inside; of the host's table, those for packets from the guest
// stay at zero unless a guest got past its own table (a raw socket, a hole in
// the kernel).
const (
	countTCP      = "egress-tcp"       // inside: the guest opened a TCP connection
	countUDP      = "egress-udp"       // inside: the guest sent a datagram (DNS, mostly)
	countICMP     = "egress-icmp"      // inside: the guest pinged
	countOther    = "egress-other"     // inside: the guest sent anything else
	countIngress  = "ingress"          // inside: to a port that is not declared, past the host's table
	countToHost   = "guest-to-host"    // host: from the guest to an address of the machine
	countForward  = "guest-forward"    // host: from the guest to anywhere else
	countSpoofed  = "spoofed"          // host: from the guest under another's address
	countToGuest  = "to-guest"         // host: from this machine to a port that is not declared
	countNeighbor = "forward-to-guest" // host: to the guest from an address that is not its host's
	countIPv6     = "ipv6"             // both: IPv6, which no guest has
	countAlien    = "not-ip"           // host: neither IP nor ARP
)

// The sets of a table.
const (
	setFlows = "flows" // declared TCP ports
	setTried = "tried" // inside: where the guest wanted to go
)

// A table is one nftables table as it should be.
type table struct {
	nft      *nftables.Table
	flows    []policy.Flow
	tried    bool
	counters []string
	chains   []chain
}

// A chain is a base chain of type filter.
type chain struct {
	name     string
	hook     *nftables.ChainHook
	hookName string
	device   string // host only: the link it hangs on
	policy   nftables.ChainPolicy
	rules    []rule
}

// A rule is its clauses, in the order they are evaluated.
type rule []clause

func (r rule) String() string {
	var texts []string
	for _, c := range r {
		if c.text != "" {
			texts = append(texts, c.text)
		}
	}
	return strings.Join(texts, " ")
}

// hostRules is the host's side of the walls around the guest behind link, on
// the link itself: before the kernel decides where a packet of the guest
// goes, and after everything else for a packet to it.
//
// Neither side tracks connections. Without a SYN of its own a guest cannot
// open one, and tracking would start for all traffic of the machine, with a
// table that a guest or a busy service could fill.
func hostRules(name, link string, p pair, flows []policy.Flow) table {
	return table{
		nft:   hostTable(name),
		flows: flows,
		counters: []string{
			countToHost, countForward, countSpoofed, countToGuest, countNeighbor, countIPv6, countAlien,
		},
		chains: []chain{
			{"from_guest", nftables.ChainHookIngress, "ingress", link, nftables.ChainPolicyDrop, []rule{
				{protocol("arp"), accept()},
				{protocol("ip6"), count(countIPv6), drop()},
				{notProtocol("ip"), count(countAlien), drop()},
				{etherIPv4(), notSource(p.guest), count(countSpoofed), drop()},
				{etherIPv4(), destination(p.host), portIn(sourcePort, setFlows), answer(), accept()},
				{toLocal(), count(countToHost), drop()},
				{count(countForward), drop()},
			}},
			{"to_guest", nftables.ChainHookEgress, "egress", link, nftables.ChainPolicyDrop, []rule{
				{protocol("arp"), accept()},
				{protocol("ip6"), count(countIPv6), drop()},
				{notProtocol("ip"), count(countAlien), drop()},
				{etherIPv4(), notSource(p.host), count(countNeighbor), drop()},
				{etherIPv4(), destination(p.guest), portIn(destPort, setFlows), accept()},
				{count(countToGuest), drop()},
			}},
		},
	}
}

// guestRules is the guest's side: the guest may do as it likes on loopback,
// answer what the host opened, and nothing else. What it tries is refused
// with an ICMP error, so that an application sees ehostunreach after a second
// and does not hang in connect for minutes.
func guestRules(p pair, flows []policy.Flow) table {
	return table{
		nft:   guestTable(),
		flows: flows,
		tried: true,
		counters: []string{
			countTCP, countUDP, countICMP, countOther, countIngress, countIPv6,
		},
		chains: []chain{
			{"input", nftables.ChainHookInput, "input", "", nftables.ChainPolicyDrop, []rule{
				{from("lo"), accept()},
				{notIPv4(), count(countIPv6), drop()},
				{from(guestLink), ipv4(), source(p.host), destination(p.guest), portIn(destPort, setFlows), accept()},
				{count(countIngress), drop()},
			}},
			{"output", nftables.ChainHookOutput, "output", "", nftables.ChainPolicyDrop, []rule{
				{to("lo"), accept()},
				{notIPv4(), count(countIPv6), drop()},
				{ipv4(), source(p.guest), destination(p.host), portIn(sourcePort, setFlows), answer(), accept()},
				{proto(tcp), try(true)},
				{proto(udp), try(true)},
				{notProtos(), try(false)},
				{proto(tcp), count(countTCP), reject()},
				{proto(udp), count(countUDP), reject()},
				{proto(icmp), count(countICMP), reject()},
				{count(countOther), reject()},
			}},
		},
	}
}

// String is the table as `nft list table` would show it.
func (t table) String() string {
	var b strings.Builder
	family := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyNetdev: "netdev"}[t.nft.Family]
	fmt.Fprintf(&b, "table %s %s {\n", family, t.nft.Name)
	fmt.Fprintf(&b, "\tset %s {\n\t\ttype inet_service\n", setFlows)
	for _, e := range elements(t.flows) {
		fmt.Fprintf(&b, "\t\telement %d comment %q\n", e.port, e.comment)
	}
	b.WriteString("\t}\n")
	if t.tried {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype ipv4_addr . inet_proto . inet_service\n", setTried)
		fmt.Fprintf(&b, "\t\tsize %d\n\t\tflags dynamic,timeout\n\t\ttimeout %s\n\t}\n", triedSize, triedFor)
	}
	for _, c := range t.counters {
		fmt.Fprintf(&b, "\tcounter %s\n", c)
	}
	for _, c := range t.chains {
		verdict := map[nftables.ChainPolicy]string{nftables.ChainPolicyDrop: "drop", nftables.ChainPolicyAccept: "accept"}[c.policy]
		hook := c.hookName
		if c.device != "" {
			hook += fmt.Sprintf(" device %q", c.device)
		}
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %s priority 0; policy %s;\n", c.name, hook, verdict)
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// An element is one port of a flows set; its comment holds what the ports'
// flows were for, "health+publish,http_port".
type element struct {
	port    uint16
	comment string
}

const (
	publishMark  = "+publish"
	commentLimit = 120 // bytes; nft's own limit for a comment is 128
)

func elements(flows []policy.Flow) []element {
	var all []element
	for _, f := range flows {
		comment := f.Purpose
		if f.Publish {
			comment += publishMark
		}
		if last := len(all) - 1; last >= 0 && all[last].port == f.Port {
			all[last].comment += "," + comment
			continue
		}
		all = append(all, element{f.Port, comment})
	}
	return all
}

func (e element) flows() []policy.Flow {
	var all []policy.Flow
	for one := range strings.SplitSeq(e.comment, ",") {
		purpose, publish := strings.CutSuffix(one, publishMark)
		all = append(all, policy.Flow{Port: e.port, Purpose: purpose, Publish: publish})
	}
	return all
}

// canonical returns flows sorted and without repetition, or an error for one
// that no firewall can hold.
func canonical(flows []policy.Flow) ([]policy.Flow, error) {
	for _, f := range flows {
		if f.Port == 0 {
			return nil, fmt.Errorf("check flow %q: port 0 cannot be let through", f.Purpose)
		}
		if strings.ContainsAny(f.Purpose, ",+\x00") {
			return nil, fmt.Errorf("check flow to port %d: purpose %q holds a comma, a plus or a zero byte", f.Port, f.Purpose)
		}
	}
	sorted := slices.Clone(flows)
	slices.SortFunc(sorted, compareFlows)
	sorted = slices.Compact(sorted)
	for _, e := range elements(sorted) {
		if len(e.comment) > commentLimit {
			return nil, fmt.Errorf("check flows to port %d: their purposes together are longer than %d bytes", e.port, commentLimit)
		}
	}
	return sorted, nil
}

func compareFlows(a, b policy.Flow) int {
	if a.Port != b.Port {
		return int(a.Port) - int(b.Port)
	}
	if c := strings.Compare(a.Purpose, b.Purpose); c != 0 || a.Publish == b.Publish {
		return c
	}
	if b.Publish {
		return -1
	}
	return 1
}
