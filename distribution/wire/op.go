package wire

import "fmt"

// Op is the first element of a control message's tuple.
type Op uint8

// The control messages (erl_dist_protocol, "Protocol between connected
// nodes"). TT ones carry a trace token, Payload ones their reason as payload.
const (
	OpLink                Op = 1
	OpSend                Op = 2
	OpExit                Op = 3
	OpUnlink              Op = 4 // until OTP 25
	OpRegSend             Op = 6
	OpGroupLeader         Op = 7
	OpExit2               Op = 8
	OpSendTT              Op = 12
	OpExitTT              Op = 13
	OpRegSendTT           Op = 16
	OpExit2TT             Op = 18
	OpMonitor             Op = 19
	OpDemonitor           Op = 20
	OpMonitorExit         Op = 21
	OpSendSender          Op = 22
	OpSendSenderTT        Op = 23
	OpPayloadExit         Op = 24
	OpPayloadExitTT       Op = 25
	OpPayloadExit2        Op = 26
	OpPayloadExit2TT      Op = 27
	OpPayloadMonitorExit  Op = 28
	OpSpawnRequest        Op = 29
	OpSpawnRequestTT      Op = 30
	OpSpawnReply          Op = 31
	OpSpawnReplyTT        Op = 32
	OpAliasSend           Op = 33
	OpAliasSendTT         Op = 34
	OpUnlinkID            Op = 35
	OpUnlinkIDAck         Op = 36
	OpAlternateActionSend Op = 37 // OTP 28
)

// shape is how the control message of one Op looks. Positions are indexes
// into the tuple; 0 means that there is none.
type shape struct {
	name             string
	size             int  // elements of the tuple, the Op included
	payload          bool // a message follows the control message
	from, to         int
	ref, token       int
	reason, optional int // optional: how many more elements there may be
}

// shapeOf is the shape of o, or false for numbers that no OTP release from 25
// to 28 sends.
func shapeOf(o Op) (shape, bool) {
	switch o {
	case OpLink:
		return shape{name: "LINK", size: 3, from: 1, to: 2}, true
	case OpSend:
		return shape{name: "SEND", size: 3, payload: true, to: 2}, true
	case OpExit:
		return shape{name: "EXIT", size: 4, from: 1, to: 2, reason: 3}, true
	case OpUnlink:
		return shape{name: "UNLINK", size: 3, from: 1, to: 2}, true
	case OpRegSend:
		return shape{name: "REG_SEND", size: 4, payload: true, from: 1, to: 3}, true
	case OpGroupLeader:
		return shape{name: "GROUP_LEADER", size: 3, from: 1, to: 2}, true
	case OpExit2:
		return shape{name: "EXIT2", size: 4, from: 1, to: 2, reason: 3}, true
	case OpSendTT:
		return shape{name: "SEND_TT", size: 4, payload: true, to: 2, token: 3}, true
	case OpExitTT:
		return shape{name: "EXIT_TT", size: 5, from: 1, to: 2, token: 3, reason: 4}, true
	case OpRegSendTT:
		return shape{name: "REG_SEND_TT", size: 5, payload: true, from: 1, to: 3, token: 4}, true
	case OpExit2TT:
		return shape{name: "EXIT2_TT", size: 5, from: 1, to: 2, token: 3, reason: 4}, true
	case OpMonitor:
		return shape{name: "MONITOR_P", size: 4, from: 1, to: 2, ref: 3}, true
	case OpDemonitor:
		return shape{name: "DEMONITOR_P", size: 4, from: 1, to: 2, ref: 3}, true
	case OpMonitorExit:
		return shape{name: "MONITOR_P_EXIT", size: 5, from: 1, to: 2, ref: 3, reason: 4}, true
	}
	return laterShapeOf(o)
}

// laterShapeOf is shapeOf for the messages that came with OTP 21 and later.
func laterShapeOf(o Op) (shape, bool) {
	switch o {
	case OpSendSender:
		return shape{name: "SEND_SENDER", size: 3, payload: true, from: 1, to: 2}, true
	case OpSendSenderTT:
		return shape{name: "SEND_SENDER_TT", size: 4, payload: true, from: 1, to: 2, token: 3}, true
	case OpPayloadExit:
		return shape{name: "PAYLOAD_EXIT", size: 3, payload: true, from: 1, to: 2}, true
	case OpPayloadExitTT:
		return shape{name: "PAYLOAD_EXIT_TT", size: 4, payload: true, from: 1, to: 2, token: 3}, true
	case OpPayloadExit2:
		return shape{name: "PAYLOAD_EXIT2", size: 3, payload: true, from: 1, to: 2}, true
	case OpPayloadExit2TT:
		return shape{name: "PAYLOAD_EXIT2_TT", size: 4, payload: true, from: 1, to: 2, token: 3}, true
	case OpPayloadMonitorExit:
		return shape{name: "PAYLOAD_MONITOR_P_EXIT", size: 4, payload: true, from: 1, to: 2, ref: 3}, true
	case OpSpawnRequest: // {29, ReqId, From, GroupLeader, {M,F,A}, OptList}
		return shape{name: "SPAWN_REQUEST", size: 6, payload: true, from: 2, ref: 1}, true
	case OpSpawnRequestTT:
		return shape{name: "SPAWN_REQUEST_TT", size: 7, payload: true, from: 2, ref: 1, token: 6}, true
	case OpSpawnReply: // {31, ReqId, To, Flags, Result}
		return shape{name: "SPAWN_REPLY", size: 5, to: 2, ref: 1, reason: 4}, true
	case OpSpawnReplyTT:
		return shape{name: "SPAWN_REPLY_TT", size: 6, to: 2, ref: 1, reason: 4, token: 5}, true
	case OpAliasSend:
		return shape{name: "ALIAS_SEND", size: 3, payload: true, from: 1, to: 2}, true
	case OpAliasSendTT:
		return shape{name: "ALIAS_SEND_TT", size: 4, payload: true, from: 1, to: 2, token: 3}, true
	case OpUnlinkID: // {35, Id, From, To}
		return shape{name: "UNLINK_ID", size: 4, from: 2, to: 3}, true
	case OpUnlinkIDAck:
		return shape{name: "UNLINK_ID_ACK", size: 4, from: 2, to: 3}, true
	case OpAlternateActionSend: // {37, Flags, From, To[, Token]}
		return shape{name: "ALTACT_SIG_SEND", size: 4, payload: true, from: 2, to: 3, token: 4, optional: 1}, true
	}
	return shape{}, false
}

// String is the name in the protocol's documentation.
func (o Op) String() string {
	if s, ok := shapeOf(o); ok {
		return s.name
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// HasPayload reports whether a message follows the control message.
func (o Op) HasPayload() bool {
	s, _ := shapeOf(o)
	return s.payload
}
