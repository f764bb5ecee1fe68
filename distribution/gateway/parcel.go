package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/wire"
)

// parcel is one message between two gateways of which the second takes over
// from the first. Its order: a record for each guest that is known, a member
// for each that is served, end; ready from the other side; go or stay.
type parcel struct {
	Kind   parcelKind    `json:"kind"`
	Record *handedRecord `json:"record,omitempty"`
	Member *handedMember `json:"member,omitempty"`
}

type parcelKind string

const (
	parcelRecord parcelKind = "record"
	parcelMember parcelKind = "member"
	parcelEnd    parcelKind = "end"
	parcelReady  parcelKind = "ready" // all is understood
	parcelGo     parcelKind = "go"    // it is yours
	parcelStay   parcelKind = "stay"  // it is not
)

// handedRecord is a record on its way.
type handedRecord struct {
	Name string          `json:"name"`
	Life json.RawMessage `json:"life"`
	Said []byte          `json:"said,omitempty"`
	Lost int             `json:"lost,omitempty"`
}

// handedMember is a member on its way. Beside it travel, in this order: the
// port mapper view's listener, the host node's stand-in, Outer listeners for
// the host VM, one for each of Forwards, the connections of Names, that of
// Lease, and the link's two legs, the host VM's first.
type handedMember struct {
	Spec      protocol.Member     `json:"spec"`
	Outer     int                 `json:"outer"`
	Forwards  []uint16            `json:"forwards,omitempty"`
	Names     []epmd.Registration `json:"names,omitempty"` // that the guest holds at its view
	Creation  uint32              `json:"creation"`        // handed out last by the view
	Lease     *handedLease        `json:"lease,omitempty"` // at the machine's port mapper
	Held      bool                `json:"held,omitempty"`
	Told      bool                `json:"told,omitempty"`
	Since     time.Time           `json:"since"`
	LinkError string              `json:"link_error,omitempty"`
	NameError string              `json:"name_error,omitempty"`
	Link      *handedLink         `json:"link,omitempty"`
}

type handedLease struct {
	Registration epmd.Registration `json:"registration"`
	Creation     uint32            `json:"creation"`
}

// handedLink is a link that rests, on its way.
type handedLink struct {
	Host  handedLeg   `json:"host"`
	Guest handedLeg   `json:"guest"`
	Judge judge.State `json:"judge"`
}

type handedLeg struct {
	ID     wire.Identity `json:"id"`
	Unread []byte        `json:"unread,omitempty"` // what was read and is no whole frame yet
	Unsent []byte        `json:"unsent,omitempty"` // what was judged and waits to be written
}

// courier is one end of the connection between the two gateways.
type courier struct{ c *net.UnixConn }

func (c courier) send(p parcel, sockets ...syscall.Conn) error {
	if err := protocol.WriteSockets(c.c, p, sockets...); err != nil {
		return fmt.Errorf("tell the other gateway (%s): %w", p.Kind, err)
	}
	return nil
}

// receive reads the next parcel, which must be of one of the kinds.
func (c courier) receive(kinds ...parcelKind) (parcel, []*os.File, error) {
	var p parcel
	files, err := protocol.Read(c.c, &p)
	if err != nil {
		return p, nil, fmt.Errorf("hear of the other gateway: %w", err)
	}
	for _, k := range kinds {
		if p.Kind == k {
			return p, files, nil
		}
	}
	for _, f := range files {
		f.Close()
	}
	return p, nil, fmt.Errorf("hear of the other gateway: %q comes, one of %q should", p.Kind, kinds)
}

// connOf takes over the connection of a socket that is passed.
func connOf(c net.Conn, err error) (*net.UnixConn, error) {
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("it is no unix socket")
	}
	return u, nil
}
