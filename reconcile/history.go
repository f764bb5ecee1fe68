package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/durable"
)

// record is what outlives a restart of the daemon for one app, and nothing
// breaks when it is lost: how often it failed and when it may try again.
type record struct {
	Digest    string    `json:"digest"` // of the spec that failed
	Failures  int       `json:"failures,omitempty"`
	Restarts  int       `json:"restarts,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	NextRetry time.Time `json:"next_retry,omitzero"`
	Ended     time.Time `json:"ended,omitzero"` // of the guest that failed
}

const historyFile = "history.json"

// readHistory returns the records under root; a missing file has none and a
// damaged one is as good as missing.
func readHistory(root string) (map[app.Name]record, error) {
	out := map[app.Name]record{}
	if root == "" {
		return out, nil
	}
	data, err := os.ReadFile(filepath.Join(root, historyFile))
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read history: %w", err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return map[app.Name]record{}, fmt.Errorf("read history %s, starting a new one: %w", historyFile, err)
	}
	return out, nil
}

// writeHistory replaces the file as a whole.
func writeHistory(root string, records map[app.Name]record) error {
	if root == "" {
		return nil
	}
	data, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return durable.Write(filepath.Join(root, historyFile), append(data, '\n'))
}
