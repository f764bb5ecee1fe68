package status

// Macula is who keeps the host VM's cluster together, function by function.
type Macula struct {
	Asked []string `json:"asked"`           // those that module macula serves, "get_cookie/0"
	Own   []string `json:"own"`             // those that it does not export: served by ourselves
	Error string   `json:"error,omitempty"` // what it answered amiss
}
