package main

import (
	"context"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// guestSaid adds to a guest's log what it said by way of the host VM.
func (p *parts) guestSaid(name app.Name, text []byte) {
	if err := p.tasks.AppendLog(name, text); err != nil {
		p.log.Warn("output of a guest is lost", "app", name, "bytes", len(text), "err", err)
	}
}

// The daemon's answers about what guests send (control.Verdicts).

// Gateway implements control.Verdicts.
func (d *daemon) Gateway(ctx context.Context) ([]status.Member, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	return p.reconciler.Members(ctx)
}

// Lift implements control.Verdicts.
func (d *daemon) Lift(ctx context.Context, name string) error {
	p, err := d.started()
	if err != nil {
		return err
	}
	return p.reconciler.Lift(ctx, app.Name(name))
}

// Describe implements control.Verdicts.
func (d *daemon) Describe(ctx context.Context, name string) (status.Description, error) {
	p, err := d.started()
	if err != nil {
		return status.Description{}, err
	}
	return p.reconciler.Describe(ctx, app.Name(name))
}

// Explain implements control.Verdicts.
func (d *daemon) Explain(ctx context.Context, name string, q status.Question) ([]status.Reason, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	return p.reconciler.Explain(ctx, app.Name(name), q)
}
