package distribution

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
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
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { g.fetchRecords(ctx) })
	for ctx.Err() == nil {
		if g.waitUp(ctx) != nil {
			return
		}
		if err := g.followRecords(ctx); err != nil && ctx.Err() == nil {
			pause(ctx, firstRetry) // it has just ended and the room does not know yet
		}
	}
}

// followRecords notes whose records are to be asked for.
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
		g.recordChanged(n.Name, askEvery)
	}
	for {
		var ev protocol.Event
		if _, err := protocol.Read(stream, &ev); err != nil {
			return err
		}
		switch ev.Kind {
		case recordEvent:
			g.recordChanged(app.Name(ev.Name), askEvery)
		case string(Quarantined):
			g.recordChanged(app.Name(ev.Name), askSoon)
		}
	}
}

// recordChanged notes that there is more to be kept of a guest that we know: one
// that this room made a member, or of which something is kept. Another one is
// asked for when it becomes a member.
func (g *Gateway) recordChanged(name app.Name, later time.Duration) {
	if name.Valid() && (g.ledger.isNamed(name) || g.holdsRecord(name)) {
		g.ledger.news(name, time.Now(), later)
	}
}

func (g *Gateway) holdsRecord(name app.Name) bool {
	if g.cfg.Records == "" {
		return false
	}
	_, err := os.Lstat(g.recordPath(name))
	return err == nil
}

// fetchRecords asks for records as they become due, until ctx ends.
func (g *Gateway) fetchRecords(ctx context.Context) {
	for ctx.Err() == nil {
		name, in, sooner := g.ledger.next(time.Now())
		if name != "" {
			g.fetchRecord(ctx, name)
			continue
		}
		var due <-chan time.Time
		if in > 0 {
			due = time.After(in)
		}
		select {
		case <-ctx.Done():
		case <-sooner:
		case <-due:
		}
	}
}

// fetchRecord asks for one guest's record and keeps it.
func (g *Gateway) fetchRecord(ctx context.Context, name app.Name) {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	resp, err := g.ask(ctx, protocol.Request{Op: protocol.OpRecord, Name: string(name)})
	if err == nil {
		g.say(name, resp.Said)
		if g.ledger.writes(name, resp.Record, time.Now()) {
			err = g.writeRecord(name, resp.Record)
		}
	}
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Warn("what is known of a guest is not kept", "app", name, "err", err)
	}
}

// say hands on what a guest said.
func (g *Gateway) say(name app.Name, text []byte) {
	if len(text) > 0 && g.cfg.Said != nil {
		g.cfg.Said(name, text[:min(len(text), maxSaid)])
	}
}

// Lift lets a quarantined guest in again, and one that waits after its link had
// to be closed. What it used up of its budgets stays used up.
func (g *Gateway) Lift(ctx context.Context, name app.Name) error {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	if !name.Valid() {
		return fmt.Errorf("lift quarantine: %q is no app's name", name)
	}
	resp, err := g.ask(ctx, protocol.Request{
		Op: protocol.OpLift, Name: string(name), Member: &protocol.Member{Record: g.readRecord(name)},
	})
	if err == nil {
		g.say(name, resp.Said)
		err = g.writeRecord(name, resp.Record)
	}
	if err != nil {
		return fmt.Errorf("lift quarantine of %s: %w", name, err)
	}
	return nil
}

// writeRecord replaces the file of a guest's record, whole or not at all.
func (g *Gateway) writeRecord(name app.Name, record []byte) error {
	if g.cfg.Records == "" || len(record) == 0 {
		return nil
	}
	if !name.Valid() {
		return fmt.Errorf("%q is no app's name", name)
	}
	if len(record) > maxRecord {
		return fmt.Errorf("its record has %d bytes, at most %d are kept", len(record), maxRecord)
	}
	err := durable.Write(g.recordPath(name), record)
	if err == nil {
		g.ledger.wrote(name, record, time.Now())
	}
	return err
}

// recordPath is a file in the folder of records; name is a valid one.
func (g *Gateway) recordPath(name app.Name) string {
	return filepath.Join(g.cfg.Records, string(name))
}

// readRecord is what is kept of a guest, nil when nothing is or can be.
func (g *Gateway) readRecord(name app.Name) []byte {
	if g.cfg.Records == "" || !name.Valid() {
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
