package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Bounds of a tried set: the guest fills it, the kernel's memory holds it.
const (
	triedSize = 256
	triedFor  = time.Hour
)

// dialNFT returns a connection to nftables in the thread's network namespace.
func dialNFT() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(roomy))
	if err != nil {
		return nil, fmt.Errorf("dial nftables: %w", err)
	}
	return c, nil
}

// roomy makes room for the echoes of a whole table in one batch: with the
// default buffer the kernel reports ENOBUFS for a batch that succeeded.
func roomy[C interface{ SetReadBuffer(bytes int) error }](c C) error {
	return c.SetReadBuffer(4 << 20)
}

// hostTable is a guest's table on the host. Its family is netdev: the chains
// hang on the guest's link, so they see all of its packets, and packets of
// other links never meet them, however many guests there are.
func hostTable(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyNetdev}
}

// guestTable is the table inside each namespace.
func guestTable() *nftables.Table {
	return &nftables.Table{Name: insideTable, Family: nftables.TableFamilyINet}
}

// withNFT runs fn on a connection to nftables in the thread's namespace.
func withNFT(fn func(*nftables.Conn) error) error {
	c, err := dialNFT()
	if err != nil {
		return err
	}
	return errors.Join(fn(c), c.CloseLasting())
}

// applyTable makes want so, in the thread's network namespace, in at most one
// transaction, and reads it back. Counters survive; a table that is right is
// left alone.
func applyTable(want table) error {
	return withNFT(func(c *nftables.Conn) error {
		have, err := readTable(c, want.nft, want.chains)
		if err != nil {
			return err
		}
		goal, err := printOf(want)
		if err != nil {
			return err
		}
		switch {
		case have.print != goal:
			err = replaceTable(c, want, have)
		case !slices.Equal(have.ports, elements(want.flows)):
			err = replacePorts(c, want, have.ports)
		default:
			return nil
		}
		if err != nil {
			return fmt.Errorf("write table %s: %w", want.nft.Name, explain(err))
		}
		return verify(c, want, goal)
	})
}

// explain says what the kernel lacks when it does not know a hook.
func explain(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (the firewall needs Linux 5.16 with NF_TABLES_NETDEV, NETFILTER_EGRESS, NFT_FIB_NETDEV and NFT_REJECT_INET)", err)
	}
	return err
}

// verify reads back what a transaction did: nftables through netlink has been
// seen to report success early.
func verify(c *nftables.Conn, want table, goal string) error {
	have, err := readTable(c, want.nft, want.chains)
	if err != nil {
		return err
	}
	if have.print != goal || !slices.Equal(have.ports, elements(want.flows)) {
		return fmt.Errorf("verify table %s: it is not what was written, look for another program that edits it", want.nft.Name)
	}
	return nil
}

// replaceTable deletes the table and makes it anew in one transaction, so
// that no packet meets a half-built one. Counters go on from where they were.
func replaceTable(c *nftables.Conn, want table, have found) error {
	t := want.nft
	if have.print != "" {
		c.DelTable(t)
	}
	c.AddTable(t)
	for i, s := range want.sets(t) {
		s.ID = uint32(i + 1) // or the library numbers it, and races
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	if err := addPorts(c, want, elements(want.flows)); err != nil {
		return err
	}
	for _, name := range want.counters {
		start := have.counters[name]
		c.AddObj(&nftables.NamedObj{Table: t, Name: name, Type: nftables.ObjTypeCounter, Obj: &start})
	}
	for _, ch := range want.chains {
		made := c.AddChain(ch.nft(t))
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: made, Exprs: r.exprs()})
		}
	}
	return c.Flush()
}

// replacePorts changes the declared ports alone, in one transaction.
func replacePorts(c *nftables.Conn, want table, have []element) error {
	s := flowSet(want.nft)
	if len(have) > 0 {
		if err := c.SetDeleteElements(s, setElements(have)); err != nil {
			return err
		}
	}
	if err := addPorts(c, want, elements(want.flows)); err != nil {
		return err
	}
	return c.Flush()
}

func addPorts(c *nftables.Conn, want table, ports []element) error {
	if len(ports) == 0 {
		return nil
	}
	return c.SetAddElements(flowSet(want.nft), setElements(ports))
}

func setElements(ports []element) []nftables.SetElement {
	var all []nftables.SetElement
	for _, p := range ports {
		all = append(all, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(p.port), Comment: p.comment})
	}
	return all
}

func flowSet(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: setFlows, KeyType: nftables.TypeInetService}
}

func (t table) sets(in *nftables.Table) []*nftables.Set {
	all := []*nftables.Set{flowSet(in)}
	if !t.tried {
		return all
	}
	address, protocol, service := nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService
	key, err := nftables.ConcatSetType(address, protocol, service)
	if err != nil {
		return all // three types always fit
	}
	return append(all, &nftables.Set{
		Table: in, Name: setTried, KeyType: key,
		Dynamic: true, HasTimeout: true, Timeout: triedFor, Size: triedSize,
	})
}

func (c chain) nft(t *nftables.Table) *nftables.Chain {
	return &nftables.Chain{
		Name: c.name, Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: c.hook, Priority: nftables.ChainPriorityFilter, Policy: &c.policy, Device: c.device,
	}
}

func (r rule) exprs() []expr.Any {
	var all []expr.Any
	for _, c := range r {
		all = append(all, c.exprs...)
	}
	return all
}

// removeTable deletes a table in the thread's network namespace.
func removeTable(t *nftables.Table) error {
	return withNFT(func(c *nftables.Conn) error {
		// Looking first is a hundred times faster than a deletion that fails.
		if _, err := c.ListTableOfFamily(t.Name, t.Family); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		c.DelTable(t)
		if err := c.Flush(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete table %s: %w", t.Name, err)
		}
		return nil
	})
}
