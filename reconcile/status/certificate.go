package status

// Certificate is what a node of the cluster needs to speak TLS. It holds a
// private key.
type Certificate struct {
	CA      string `json:"ca"`      // PEM: whom to believe
	Node    string `json:"node"`    // PEM: the node's certificate and key
	Options string `json:"options"` // for -ssl_dist_optfile, with the two names below
}

// The files that Options names, for whoever writes them to replace by paths.
const (
	CertificateCA   = "ca.pem"
	CertificateNode = "node.pem"
)
