package main

import (
	"slices"

	"beamsandbox/reconcile/app"
)

// known are the cookies that the host VM may have: the one that its Macula said
// last, and own, ours.
func (p *parts) known(own func() ([]app.Secret, error)) func() ([]app.Secret, error) {
	return func() ([]app.Secret, error) {
		cookies, err := own()
		r := p.learned.Load()
		if err != nil || r == nil {
			return cookies, err
		}
		if s := r.MaculaCookie(); !s.Empty() && !slices.Contains(cookies, s) {
			cookies = append([]app.Secret{s}, cookies...)
		}
		return cookies, nil
	}
}
