package netns

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A clause is one part of a rule: what nft shows for it, and what the kernel
// runs.
type clause struct {
	text  string
	exprs []expr.Any
}

// Registers: the first one, and the two that follow its first four bytes, as
// the kernel itself numbers them when it lists a rule.
const (
	reg      = unix.NFT_REG_1
	regProto = unix.NFT_REG32_01
	regPort  = unix.NFT_REG32_02
)

// IP protocol numbers.
const (
	tcp  = unix.IPPROTO_TCP
	udp  = unix.IPPROTO_UDP
	icmp = unix.IPPROTO_ICMP
)

func is(op expr.CmpOp, data ...byte) expr.Any { return &expr.Cmp{Op: op, Register: reg, Data: data} }

func meta(key expr.MetaKey, register uint32) expr.Any {
	return &expr.Meta{Key: key, Register: register}
}

// network loads bytes of the IPv4 header: the source is at 12, the
// destination at 16 (RFC 791).
func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

// A portField is where TCP and UDP keep a port in their headers.
type portField uint32

const (
	sourcePort portField = 0
	destPort   portField = 2
)

func port(f portField, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: uint32(f), Len: 2}
}

func device(key expr.MetaKey, op expr.CmpOp, link string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{meta(key, reg), is(op, name...)}
}

func from(link string) clause {
	return clause{fmt.Sprintf("iifname %q", link), device(expr.MetaKeyIIFNAME, expr.CmpOpEq, link)}
}

func to(link string) clause {
	return clause{fmt.Sprintf("oifname %q", link), device(expr.MetaKeyOIFNAME, expr.CmpOpEq, link)}
}

// ipv4 precedes clauses that read the IPv4 header; nft does not show it.
func ipv4() clause {
	return clause{"", []expr.Any{meta(expr.MetaKeyNFPROTO, reg), is(expr.CmpOpEq, unix.NFPROTO_IPV4)}}
}

// etherIPv4 is ipv4 for tables of family netdev.
func etherIPv4() clause { return clause{"", protocol("ip").exprs} }

func etherType(name string) []byte {
	kind := map[string]uint16{"ip": unix.ETH_P_IP, "ip6": unix.ETH_P_IPV6, "arp": unix.ETH_P_ARP}[name]
	return binaryutil.BigEndian.PutUint16(kind)
}

func protocol(name string) clause {
	return clause{"meta protocol " + name, []expr.Any{meta(expr.MetaKeyPROTOCOL, reg), is(expr.CmpOpEq, etherType(name)...)}}
}

func notProtocol(name string) clause {
	return clause{"meta protocol != " + name, []expr.Any{meta(expr.MetaKeyPROTOCOL, reg), is(expr.CmpOpNeq, etherType(name)...)}}
}

func notIPv4() clause {
	return clause{"meta nfproto != ipv4", []expr.Any{meta(expr.MetaKeyNFPROTO, reg), is(expr.CmpOpNeq, unix.NFPROTO_IPV4)}}
}

func source(a netip.Addr) clause {
	return clause{"ip saddr " + a.String(), []expr.Any{network(12, 4), is(expr.CmpOpEq, a.AsSlice()...)}}
}

func notSource(a netip.Addr) clause {
	return clause{"ip saddr != " + a.String(), []expr.Any{network(12, 4), is(expr.CmpOpNeq, a.AsSlice()...)}}
}

func destination(a netip.Addr) clause {
	return clause{"ip daddr " + a.String(), []expr.Any{network(16, 4), is(expr.CmpOpEq, a.AsSlice()...)}}
}

// toLocal matches packets to any address of the machine itself.
func toLocal() clause {
	return clause{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: reg, ResultADDRTYPE: true, FlagDADDR: true},
		is(expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...),
	}}
}

// answer matches TCP segments that do not open a connection (RFC 9293, 3.5):
// all but those with SYN and without ACK.
func answer() clause {
	const syn, ack = 0x02, 0x10
	return clause{"tcp flags & (syn | ack) != syn", []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		is(expr.CmpOpNeq, syn),
	}}
}

func proto(number byte) clause {
	name := map[byte]string{tcp: "tcp", udp: "udp", icmp: "icmp"}[number]
	return clause{"meta l4proto " + name, []expr.Any{meta(expr.MetaKeyL4PROTO, reg), is(expr.CmpOpEq, number)}}
}

// notProtos matches protocols without ports.
func notProtos() clause {
	return clause{"meta l4proto != tcp meta l4proto != udp", []expr.Any{
		meta(expr.MetaKeyL4PROTO, reg), is(expr.CmpOpNeq, tcp),
		meta(expr.MetaKeyL4PROTO, reg), is(expr.CmpOpNeq, udp),
	}}
}

// portIn matches TCP segments from or to a port in set.
func portIn(f portField, set string) clause {
	name := map[portField]string{sourcePort: "sport", destPort: "dport"}[f]
	return clause{"tcp " + name + " @" + set, []expr.Any{
		meta(expr.MetaKeyL4PROTO, reg), is(expr.CmpOpEq, tcp),
		port(f, reg),
		&expr.Lookup{SourceRegister: reg, SetName: set},
	}}
}

// try records where a packet wanted to go, with port 0 for protocols without
// one. When the set is full the rule ends here and the packet goes on.
func try(ported bool) clause {
	last, text := port(destPort, regPort), "th dport"
	if !ported {
		last, text = &expr.Immediate{Register: regPort, Data: make([]byte, 4)}, "0"
	}
	return clause{"update @" + setTried + " { ip daddr . meta l4proto . " + text + " counter }", []expr.Any{
		meta(expr.MetaKeyNFPROTO, reg), is(expr.CmpOpEq, unix.NFPROTO_IPV4),
		network(16, 4), meta(expr.MetaKeyL4PROTO, regProto), last,
		&expr.Dynset{SrcRegKey: reg, SetName: setTried, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE), Exprs: []expr.Any{&expr.Counter{}}},
	}}
}

func count(name string) clause {
	return clause{fmt.Sprintf("counter name %q", name), []expr.Any{
		&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name},
	}}
}

func accept() clause {
	return clause{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

func drop() clause {
	return clause{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
}

// reject drops and tells the sender "administratively prohibited" (RFC 1812,
// 5.2.7.1).
func reject() clause {
	return clause{"reject with icmpx admin-prohibited", []expr.Any{
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED},
	}}
}
