package status

// Rotation is what became of one cookie or certificate that was to be
// replaced.
type Rotation struct {
	App    string `json:"app,omitempty"` // "": the cluster
	State  string `json:"state"`         // RotationDone, RotationPending or RotationFailed
	Detail string `json:"detail,omitempty"`
}

// What became of a rotation.
const (
	RotationDone    = "rotated"
	RotationPending = "pending" // it is finished as soon as that can be done
	RotationFailed  = "failed"  // nothing has changed
)
