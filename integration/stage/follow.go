package stage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"beamsandbox/reconcile/status"
)

// Follow subscribes to what happens. The channel is closed when ctx ends or
// the daemon does; events that are not taken out of it are lost after a few
// hundred.
func (d *Daemon) Follow(ctx context.Context) (<-chan status.Event, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandboxd/v1/events", nil)
	if err != nil {
		return nil, err
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(res.Body)
	// The first line says that the subscription stands.
	if !lines.Scan() || res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("sandboxd answered %s to a follower", res.Status)
	}
	events := make(chan status.Event, 256)
	go func() {
		defer close(events)
		defer res.Body.Close()
		for lines.Scan() {
			var e status.Event
			data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if !ok || json.Unmarshal(data, &e) != nil {
				continue
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}
