package distribution

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/durable"
)

const (
	// recordEvent says that there is more to be kept of a member, or that it
	// said something.
	recordEvent = "record"
	// recordTimeout bounds one question for a record.
	recordTimeout = 10 * time.Second
	// maxRecords is how many guests' records are kept, those of guests that are
	// gone included; the oldest go first.
	maxRecords = 4096
	// maxRecord bounds one of them, in bytes.
	maxRecord = protocol.MaxMessage / 2
)

// keepRecords writes down what the gateway learns of guests, as it learns it.
// What changed while nobody listened is asked for first.
func (g *Gateway) keepRecords(ctx context.Context) {
	defer close(g.kept)
	g.dropOldRecords()
	for ctx.Err() == nil {
		if g.waitUp(ctx) != nil {
			return
		}
		if err := g.followRecords(ctx); err != nil && ctx.Err() == nil {
			pause(ctx, firstRetry) // it has just ended and the room does not know yet
		}
	}
}

func (g *Gateway) followRecords(ctx context.Context) error {
	stream, _, err := g.open(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	nodes, err := g.List(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		g.fetchRecord(ctx, n.Name)
	}
	for {
		var ev protocol.Event
		if _, err := protocol.Read(stream, &ev); err != nil {
			return err
		}
		if ev.Kind == recordEvent {
			g.fetchRecord(ctx, app.Name(ev.Name))
		}
	}
}

// fetchRecord asks for one guest's record and keeps it.
func (g *Gateway) fetchRecord(ctx context.Context, name app.Name) {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	resp, err := protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpRecord, Name: string(name)})
	if err == nil {
		err = g.writeRecord(name, resp)
	}
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Warn("what is known of a guest is not kept", "app", name, "err", err)
	}
}

// Lift lets a quarantined guest in again, and one that waits after its link had
// to be closed. What it used up of its budgets stays used up.
func (g *Gateway) Lift(ctx context.Context, name app.Name) error {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	resp, err := protocol.Ask(ctx, g.socket, protocol.Request{
		Op: protocol.OpLift, Name: string(name), Member: &protocol.Member{Record: g.readRecord(name)},
	})
	if err == nil {
		err = g.writeRecord(name, resp)
	}
	if err != nil {
		return fmt.Errorf("lift quarantine of %s: %w", name, err)
	}
	return nil
}

// writeRecord replaces the file of a guest's record, whole or not at all, and
// hands on what the guest said.
func (g *Gateway) writeRecord(name app.Name, resp protocol.Response) error {
	if len(resp.Said) > 0 && g.cfg.Said != nil {
		g.cfg.Said(name, resp.Said)
	}
	if g.cfg.Records == "" || len(resp.Record) == 0 {
		return nil
	}
	if len(resp.Record) > maxRecord {
		return fmt.Errorf("its record has %d bytes, at most %d are kept", len(resp.Record), maxRecord)
	}
	return durable.Write(g.recordPath(name), resp.Record)
}

func (g *Gateway) recordPath(name app.Name) string {
	return filepath.Join(g.cfg.Records, string(name))
}

// readRecord is what is kept of a guest, nil when nothing is or can be.
func (g *Gateway) readRecord(name app.Name) []byte {
	if g.cfg.Records == "" {
		return nil
	}
	b, err := os.ReadFile(g.recordPath(name))
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("it has %d bytes, at most %d are read", len(b), maxRecord)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.cfg.Log.Warn("a guest begins with a new record", "app", name, "err", err)
	}
	if err != nil {
		return nil
	}
	return b
}

// dropOldRecords keeps the folder bounded, and free of what an end in the
// middle of a write left.
func (g *Gateway) dropOldRecords() {
	entries, err := os.ReadDir(g.cfg.Records)
	if g.cfg.Records == "" || err != nil {
		return
	}
	age := map[string]time.Time{}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
		case e.Name()[0] == '.':
			_ = os.Remove(filepath.Join(g.cfg.Records, e.Name())) // it takes room and does no harm
		default:
			names, age[e.Name()] = append(names, e.Name()), info.ModTime()
		}
	}
	slices.SortFunc(names, func(a, b string) int { return age[b].Compare(age[a]) })
	for _, old := range names[min(len(names), maxRecords):] {
		_ = os.Remove(filepath.Join(g.cfg.Records, old))
	}
}
