package app

// Ports of every guest that are not the app's own to declare.
const (
	EPMDPort         uint16 = 4369 // the port mapper view (erl_dist_protocol)
	DistributionPort uint16 = 9100 // where the guest's distribution listens
)

// Node returns the name of the app's node, "prefix" + "name@host":
// defaultPrefix counts when the spec has no node_prefix of its own. hostname
// is the short name of the machine. Embedded apps run in the host VM and have
// no node; for them this is the node they would get.
func (s Spec) Node(hostname, defaultPrefix string) string {
	prefix := defaultPrefix
	if s.VM.NodePrefix != nil {
		prefix = *s.VM.NodePrefix
	}
	return prefix + string(s.Name) + "@" + hostname
}
