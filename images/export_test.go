package images

import "context"

// Held is how much all images together hold, as bound counts it.
func (s *Store) Held(ctx context.Context) (int64, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return 0, err
	}
	return s.usage(ctx, all).total, nil
}
