package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// registryAuth reads credentials from a file as docker login writes it:
// {"auths": {"registry.example": {"auth": base64("user:password")}}}. Helpers
// that it may name are not run. The file is read at each use, so that a
// password can be changed while the daemon runs.
func registryAuth(path string) func(host string) (user, secret string, err error) {
	if path == "" {
		return nil
	}
	return func(host string) (string, string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", "", fmt.Errorf("read registry_auth: %w", err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return "", "", fmt.Errorf("read registry_auth: %s may be read by others: chmod 600 it", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return "", "", fmt.Errorf("read registry_auth: %w", err)
		}
		return credentials(data, host)
	}
}

// credentials finds those of a host; none is no error. What is wrong with the
// file is told without its content.
func credentials(data []byte, host string) (user, secret string, err error) {
	var file struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
	}
	if json.Unmarshal(data, &file) != nil {
		return "", "", fmt.Errorf("read registry_auth: it is not JSON as docker login writes it")
	}
	for _, key := range []string{host, "https://" + host, "https://" + host + "/v1/"} {
		entry, ok := file.Auths[key]
		if !ok {
			continue
		}
		plain, err := base64.StdEncoding.DecodeString(entry.Auth)
		user, secret, found := strings.Cut(string(plain), ":")
		if err != nil || !found {
			return "", "", fmt.Errorf("read registry_auth: the entry of %s is not the base64 of user:password", host)
		}
		return user, secret, nil
	}
	return "", "", nil
}
