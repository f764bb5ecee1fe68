package app

import "path"

// Format is how a file writes its terms.
type Format string

// The formats of an app's configuration.
const (
	Erlang Format = "erlang" // what file:consult/1 reads
	YAML   Format = "yaml"
	JSON   Format = "json"
)

// FormatOf returns the format that a file's name says: Erlang for everything
// that is neither YAML nor JSON.
func FormatOf(file string) Format {
	switch path.Ext(file) {
	case ".yaml", ".yml":
		return YAML
	case ".json":
		return JSON
	}
	return Erlang
}

// configNames are looked for in a folder, the first one found counts.
func configNames() []string {
	return []string{
		"app.config", "app.yaml", "app.yml", "app.json",
		"config.yaml", "config.yml", "config.json", "config",
	}
}
