package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution/epmd"
)

const (
	// A name that cannot be had is asked for again after firstRetry, then
	// ever later up to lastRetry.
	firstRetry = 20 * time.Millisecond
	lastRetry  = 5 * time.Second
	// patience is how many refusals are normal: the port mapper frees a name
	// only when it gets round to the closed connection of its last holder.
	patience = 4
)

// registered is told by the view that the guest's BEAM asked for its name.
// Only then is there somebody to dial, so only then is the name held at the
// machine's port mapper: until that moment the host VM is told at once that
// there is no such node.
func (m *member) registered(r epmd.Registration, _ uint32) {
	if want := m.spec().Guest.Port(); r.Port != want {
		m.fail(fmt.Errorf("guest accepts distribution at port %d instead of %d: start it with inet_dist_listen_min and inet_dist_listen_max %d", r.Port, want, want))
		return
	}
	if err := m.quarantined(); err != nil {
		m.fail(err)
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.mu.Lock()
	m.held, m.release = true, cancel
	stale := m.link
	wait := m.starts.next(time.Now(), paceLimit)
	if wait < 0 {
		wait = paceLimit
	}
	m.mu.Unlock()
	m.run("name", func() {
		defer cancel()
		if stale != nil { // the new BEAM knows nothing of it
			stale.end("guest started anew")
			<-stale.done
		}
		rest(ctx, wait)
		m.holdName(ctx, nil)
	})
}

// unregistered is told by the view that the guest's BEAM let go of its name,
// most often by ending.
func (m *member) unregistered(epmd.Registration) {
	if m.s.ice.isOver() {
		return // it is another gateway's to tell
	}
	m.mu.Lock()
	told := m.told
	m.held, m.told = false, false
	if m.release != nil {
		m.release()
	}
	m.mu.Unlock()
	m.caller.drop()
	if told {
		m.tell("unregistered", "")
	}
}

// holdName keeps the guest's name at the machine's port mapper until ctx
// ends, through restarts of the port mapper and other holders of the name. It
// may be leased already.
func (m *member) holdName(ctx context.Context, lease *epmd.Lease) {
	if lease != nil {
		m.hasName(ctx, lease)
	}
	wait := firstRetry
	for tries := 1; ctx.Err() == nil; tries++ {
		lease, err := epmd.Register(ctx, m.s.cfg.EPMD, epmd.Registration{Name: m.alive, Port: m.port})
		if err == nil {
			m.hasName(ctx, lease)
			wait, tries = firstRetry, 0
		} else if ctx.Err() == nil && !(errors.Is(err, epmd.ErrNameTaken) && tries <= patience) {
			m.lacksName(err)
		}
		rest(ctx, wait)
		wait = min(2*wait, lastRetry)
	}
}

// hasName waits until the lease or ctx ends.
func (m *member) hasName(ctx context.Context, lease *epmd.Lease) {
	m.mu.Lock()
	m.lease, m.leased, m.nameErr = lease, true, ""
	m.told = m.held
	tell := m.held && m.link == nil
	m.mu.Unlock()
	if tell {
		m.tell("registered", "")
	}
	select {
	case <-ctx.Done():
	case <-lease.Done():
	}
	lease.Close()
	m.mu.Lock()
	m.lease, m.leased = nil, false
	m.mu.Unlock()
}

// lacksName notes why the name cannot be held, once for each reason.
func (m *member) lacksName(err error) {
	if errors.Is(err, epmd.ErrNameTaken) {
		err = fmt.Errorf("%w: stop the node that calls itself %s on this machine, or give the app a node_prefix", err, m.alive)
	}
	m.mu.Lock()
	repeated := m.nameErr == err.Error()
	m.nameErr = err.Error()
	m.mu.Unlock()
	if !repeated {
		m.s.cfg.Log.Warn("name not held", "app", m.name, "err", err)
		m.tell("link_error", err.Error())
	}
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
