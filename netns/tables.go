package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"beamsandbox/policy"
)

// found is one table as it is. The zero value is a table that is not there.
type found struct {
	print    string // see printOf
	ports    []element
	counters map[string]expr.Counter
}

// readTable reads what is there of a table that should have these chains.
func readTable(c *nftables.Conn, want *nftables.Table, chains []chain) (found, error) {
	t, err := c.ListTableOfFamily(want.Name, want.Family)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, nil
	}
	if err != nil {
		return found{}, fmt.Errorf("read table %s: %w", want.Name, err)
	}
	var f found
	if f.counters, err = readCounters(c, t); err != nil {
		return found{}, err
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return found{}, fmt.Errorf("read sets of table %s: %w", want.Name, err)
	}
	var b strings.Builder
	printHead(&b, f.counters, sets)
	for _, ch := range chains {
		if err := printChain(&b, c, t, ch.name); err != nil {
			return found{}, err
		}
	}
	f.print = b.String()
	if slices.ContainsFunc(sets, func(s *nftables.Set) bool { return s.Name == setFlows }) {
		f.ports, err = readPorts(c, t)
	}
	return f, err
}

// printOf is a fingerprint of all of a table but its declared ports and the
// values of its counters. Equal prints mean equal tables.
func printOf(t table) (string, error) {
	counters := make(map[string]expr.Counter)
	for _, name := range t.counters {
		counters[name] = expr.Counter{}
	}
	var b strings.Builder
	printHead(&b, counters, t.sets(nil))
	for _, ch := range t.chains {
		printHook(&b, ch.nft(nil))
		for _, r := range ch.rules {
			if err := printRule(&b, r.exprs()); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func printHead(b *strings.Builder, counters map[string]expr.Counter, sets []*nftables.Set) {
	var lines []string
	for name := range counters {
		lines = append(lines, "counter "+name)
	}
	for _, s := range sets {
		lines = append(lines, fmt.Sprintf("set %s %s %t %s %d", s.Name, s.KeyType.Name, s.Dynamic, s.Timeout, s.Size))
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, "\n") + "\n")
}

func printHook(b *strings.Builder, c *nftables.Chain) {
	fmt.Fprintf(b, "chain %s", c.Name)
	if c.Hooknum != nil && c.Priority != nil && c.Policy != nil {
		fmt.Fprintf(b, " %s hook %d priority %d policy %d", c.Type, *c.Hooknum, *c.Priority, *c.Policy)
	}
	b.WriteString("\n")
}

func printRule(b *strings.Builder, exprs []expr.Any) error {
	b.WriteString(" ")
	for _, e := range exprs {
		data, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return fmt.Errorf("encode expression %T: %w", e, err)
		}
		fmt.Fprintf(b, " %T:%x", e, data)
	}
	b.WriteString("\n")
	return nil
}

// printChain prints a chain of the kernel's; one that is missing prints as
// nothing.
func printChain(b *strings.Builder, c *nftables.Conn, t *nftables.Table, name string) error {
	ch, err := c.ListChain(t, name)
	if err != nil {
		return nil // the library hides which error; the print differs, and the table is replaced
	}
	printHook(b, ch)
	rules, err := c.GetRules(t, ch)
	if err != nil {
		return fmt.Errorf("read chain %s of table %s: %w", name, t.Name, err)
	}
	for _, r := range rules {
		if err := printRule(b, r.Exprs); err != nil {
			return err
		}
	}
	return nil
}

func readCounters(c *nftables.Conn, t *nftables.Table) (map[string]expr.Counter, error) {
	objs, err := c.GetNamedObjects(t)
	if err != nil {
		return nil, fmt.Errorf("read counters of table %s: %w", t.Name, err)
	}
	all := make(map[string]expr.Counter)
	for _, o := range objs {
		named, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		if counter, ok := named.Obj.(*expr.Counter); ok {
			all[named.Name] = *counter
		}
	}
	return all, nil
}

func readPorts(c *nftables.Conn, t *nftables.Table) ([]element, error) {
	found, err := c.GetSetElements(&nftables.Set{Table: t, Name: setFlows})
	if err != nil {
		return nil, fmt.Errorf("read ports of table %s: %w", t.Name, err)
	}
	var all []element
	for _, e := range found {
		if len(e.Key) >= 2 {
			all = append(all, element{binary.BigEndian.Uint16(e.Key), e.Comment})
		}
	}
	slices.SortFunc(all, func(a, b element) int { return int(a.port) - int(b.port) })
	return all, nil
}

// readFlows returns the declared flows of a table on the host.
func readFlows(t *nftables.Table) (flows []policy.Flow, err error) {
	err = withNFT(func(c *nftables.Conn) error {
		f, err := readTable(c, t, nil)
		for _, p := range f.ports {
			flows = append(flows, p.flows()...)
		}
		return err
	})
	return flows, err
}

// hostTables names all netdev tables of the thread's network namespace.
func hostTables() (names []string, err error) {
	err = withNFT(func(c *nftables.Conn) error {
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
		if err != nil {
			return fmt.Errorf("list tables: %w", err)
		}
		for _, t := range tables {
			names = append(names, t.Name)
		}
		return nil
	})
	return names, err
}
