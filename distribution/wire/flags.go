package wire

import (
	"fmt"
	"strings"
)

// Flags is what a node says it can do (DFLAG_* in kernel's dist.hrl).
type Flags uint64

// The capability flags, in the order of their bits.
const (
	Published           Flags = 0x1
	AtomCache           Flags = 0x2
	ExtendedReferences  Flags = 0x4
	DistMonitor         Flags = 0x8
	FunTags             Flags = 0x10
	DistMonitorName     Flags = 0x20
	HiddenAtomCache     Flags = 0x40
	NewFunTags          Flags = 0x80
	ExtendedPidsPorts   Flags = 0x100
	ExportPtrTag        Flags = 0x200
	BitBinaries         Flags = 0x400
	NewFloats           Flags = 0x800
	UnicodeIO           Flags = 0x1000
	DistHdrAtomCache    Flags = 0x2000
	SmallAtomTags       Flags = 0x4000
	UTF8Atoms           Flags = 0x10000
	MapTag              Flags = 0x20000
	BigCreation         Flags = 0x40000
	SendSender          Flags = 0x80000
	BigSeqtraceLabels   Flags = 0x100000
	ExitPayload         Flags = 0x400000
	Fragments           Flags = 0x800000
	Handshake23         Flags = 0x1000000
	UnlinkID            Flags = 0x2000000
	Mandatory25Digest   Flags = 0x4000000 // stands for every flag of Mandatory25
	Spawn               Flags = 1 << 32
	NameMe              Flags = 1 << 33
	V4NC                Flags = 1 << 34
	Alias               Flags = 1 << 35
	AlternateActionSigs Flags = 1 << 37 // OTP 28
	NativeRecords       Flags = 1 << 38 // OTP 29
)

const (
	// Mandatory25 is what OTP 25 and later refuse to do without.
	Mandatory25 = ExtendedReferences | FunTags | ExtendedPidsPorts | NewFunTags |
		ExportPtrTag | BitBinaries | NewFloats | UTF8Atoms | MapTag | BigCreation | Handshake23
	// Mandatory26 is what OTP 26 and later refuse to do without.
	Mandatory26 = Mandatory25 | UnlinkID | V4NC

	// Relayed are the flags that a middleman passes between two nodes; every
	// other one, known or not, is taken away. Atom cache and fragments go
	// together, so that each frame stands for itself; SendSender goes so that
	// a message does not disclose its sender.
	Relayed = Published | Mandatory26 | Mandatory25Digest | DistMonitor | DistMonitorName |
		UnicodeIO | SmallAtomTags | ExitPayload | Spawn | Alias

	// OwnFlags are those of a node of ours that speaks for itself: hidden
	// (not Published), without atom cache, fragments or spawn.
	OwnFlags = Mandatory26 | Mandatory25Digest | DistMonitor | DistMonitorName |
		UnicodeIO | SmallAtomTags | ExitPayload | Alias
)

// Expand writes out what Mandatory25Digest stands for.
func (f Flags) Expand() Flags {
	if f&Mandatory25Digest != 0 {
		return f | Mandatory25
	}
	return f
}

// Has reports whether every flag of want is set, after Expand.
func (f Flags) Has(want Flags) bool { return f.Expand()&want == want }

// ToGuest is the host node's flags as a guest may see them: relayed flags
// only, and no Spawn, so that the guest's own spawn requests fail at home.
func ToGuest(host Flags) Flags { return host.Expand() & Relayed &^ Spawn }

// ToHost is a guest's flags as the host node sees them: relayed flags only,
// and always Published, so that the guest is one of nodes().
func ToHost(guest Flags) Flags { return guest.Expand()&Relayed | Published }

// Check says which flag that OTP 25 and later need is missing.
func (f Flags) Check() error {
	if f&NameMe != 0 {
		return fmt.Errorf("check flags %v: a node that asks for a name is not served; start it with -sname or -name", f)
	}
	if missing := Mandatory25 &^ f.Expand(); missing != 0 {
		return fmt.Errorf("check flags %#x: %v missing; the node must run OTP 25 or later", uint64(f), missing)
	}
	return nil
}

// flagNames lists the flags by their names in dist.hrl, without the prefix.
func flagNames() []struct {
	Flag Flags
	Name string
} {
	return []struct {
		Flag Flags
		Name string
	}{
		{Published, "PUBLISHED"}, {AtomCache, "ATOM_CACHE"}, {ExtendedReferences, "EXTENDED_REFERENCES"},
		{DistMonitor, "DIST_MONITOR"}, {FunTags, "FUN_TAGS"}, {DistMonitorName, "DIST_MONITOR_NAME"},
		{HiddenAtomCache, "HIDDEN_ATOM_CACHE"}, {NewFunTags, "NEW_FUN_TAGS"}, {ExtendedPidsPorts, "EXTENDED_PIDS_PORTS"},
		{ExportPtrTag, "EXPORT_PTR_TAG"}, {BitBinaries, "BIT_BINARIES"}, {NewFloats, "NEW_FLOATS"},
		{UnicodeIO, "UNICODE_IO"}, {DistHdrAtomCache, "DIST_HDR_ATOM_CACHE"}, {SmallAtomTags, "SMALL_ATOM_TAGS"},
		{UTF8Atoms, "UTF8_ATOMS"}, {MapTag, "MAP_TAG"}, {BigCreation, "BIG_CREATION"}, {SendSender, "SEND_SENDER"},
		{BigSeqtraceLabels, "BIG_SEQTRACE_LABELS"}, {ExitPayload, "EXIT_PAYLOAD"}, {Fragments, "FRAGMENTS"},
		{Handshake23, "HANDSHAKE_23"}, {UnlinkID, "UNLINK_ID"}, {Mandatory25Digest, "MANDATORY_25_DIGEST"},
		{Spawn, "SPAWN"}, {NameMe, "NAME_ME"}, {V4NC, "V4_NC"}, {Alias, "ALIAS"},
		{AlternateActionSigs, "ALTACT_SIG"}, {NativeRecords, "NATIVE_RECORDS"},
	}
}

// String lists the flags by name, joined by "|"; unknown bits as one number.
func (f Flags) String() string {
	var names []string
	for _, n := range flagNames() {
		if f&n.Flag != 0 {
			names = append(names, n.Name)
			f &^= n.Flag
		}
	}
	if f != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", uint64(f)))
	}
	return strings.Join(names, "|")
}
