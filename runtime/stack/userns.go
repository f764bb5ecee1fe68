package stack

import (
	"os"
	"strings"
)

// maxUserNamespaces is the kernel's limit (namespaces(7)), which an
// administrator may have set to 0; without user namespaces it is not there.
const maxUserNamespaces = "/proc/sys/user/max_user_namespaces"

// makesUserNamespaces reports whether the limit in the file at path lets any
// user namespace be made.
func makesUserNamespaces(path string) bool {
	limit, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(limit)) != "0"
}
