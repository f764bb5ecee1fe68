package git

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTokenStaysAtItsHost: an app's source on another host never gets the
// token of the gitops repository.
func TestTokenStaysAtItsHost(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{URL: "https://git.example/org/gitops.git", TokenFile: token}
	tests := []struct {
		address string
		given   bool
	}{
		{"https://git.example/org/pulse.git", true},
		{"https://git.example:8443/org/pulse.git", false},
		{"https://elsewhere.example/org/pulse.git", false},
		{"http://git.example/org/pulse.git", false},
		{"file:///srv/pulse.git", false},
		{"ssh://git.example/org/pulse.git", false},
	}
	for _, tt := range tests {
		auth, err := c.Auth(tt.address)
		if err != nil || (auth != nil) != tt.given {
			t.Errorf("Auth(%s) = %v, %v, want credentials: %v", tt.address, auth, err, tt.given)
		}
	}
}
