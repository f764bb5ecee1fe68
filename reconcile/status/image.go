package status

import (
	"encoding/json"
	"time"
)

// Image is one image that the daemon keeps.
type Image struct {
	App      string    `json:"app,omitempty"`
	Ref      string    `json:"ref"`  // name in containerd's image store
	Kind     string    `json:"kind"` // current, previous, removed, pulled, builder
	Running  bool      `json:"running"`
	Digest   string    `json:"digest"`
	Revision string    `json:"revision,omitempty"`
	Source   string    `json:"source,omitempty"`
	Bytes    int64     `json:"bytes"` // packed; images share parts
	Built    time.Time `json:"built"`
}

// ImageDetail is one image in full.
type ImageDetail struct {
	Image
	Layers       []ImageLayer    `json:"layers"`
	Release      string          `json:"release,omitempty"` // "pulse 1.0.0"
	ERTS         string          `json:"erts,omitempty"`
	Applications []string        `json:"applications,omitempty"` // "pulse-1.0.0"
	Resolved     []Dependency    `json:"resolved,omitempty"`     // what its build took from outside
	Entry        []string        `json:"entry,omitempty"`        // command of an image that holds no release of ours
	SBOM         json.RawMessage `json:"sbom,omitempty"`         // SPDX 2.3
}

// Dependency is one thing that a build took from outside.
type Dependency struct {
	Kind       string `json:"kind"`                 // hex or git
	Name       string `json:"name"`                 // package, or address of a git repository
	Version    string `json:"version"`              // of the package, or the commit
	Repository string `json:"repository,omitempty"` // the package's registry
	Checksum   string `json:"checksum,omitempty"`   // SHA-256 of the package's tarball
	Retired    string `json:"retired,omitempty"`    // why the package's authors retired it
}

// ImageLayer is one archive of an image.
type ImageLayer struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// Freed is what a clean-up of images took away.
type Freed struct {
	Images int   `json:"images"`
	Bytes  int64 `json:"bytes"`
}
