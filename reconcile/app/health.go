package app

import (
	"strings"
	"time"
)

// Defaults and bounds of a health check, in milliseconds.
const (
	defaultInterval = 10_000
	defaultTimeout  = 5_000
	minInterval     = 100
	maxInterval     = 24 * 60 * 60 * 1000
)

func (d *document) health(top section) *Health {
	n := top.value("health")
	if n == nil {
		return nil
	}
	s := d.section(n, "health", "type", "port", "path", "module", "interval", "timeout")
	h := &Health{
		Type:     HealthType(s.choice("type", "http", "http", "tcp", "custom")),
		Port:     s.port("port"),
		Path:     s.text("path", `an absolute path such as <<"/health">>`, validPath),
		Module:   s.text("module", "the name of a module", printable),
		Interval: s.milliseconds("interval", defaultInterval),
		Timeout:  s.milliseconds("timeout", defaultTimeout),
	}
	d.places["health.port"] = s.values["port"]
	switch h.Type {
	case HealthHTTP, HealthTCP:
		d.healthPort(s, h)
		s.foreign("module", "custom")
	case HealthCustom:
		s.required("module", "the name of a module that exports health_check/0")
	}
	if h.Type != HealthHTTP {
		s.foreign("path", "http")
	} else if h.Path == "" {
		h.Path = "/health"
	}
	return h
}

// healthPort fills in env.http_port when the check names no port.
func (d *document) healthPort(s section, h *Health) {
	if s.value("port") != nil {
		return
	}
	port, ok := d.spec.HTTPPort()
	if !ok {
		s.fail("port", "a TCP port", "name it here or as http_port in env")
	}
	h.Port = port
}

func validPath(s string) bool {
	return strings.HasPrefix(s, "/") && len(s) <= 1024 && printable(s) && !strings.Contains(s, " ")
}

func (s section) milliseconds(key string, otherwise int) time.Duration {
	if s.value(key) == nil {
		return time.Duration(otherwise) * time.Millisecond
	}
	return time.Duration(s.integer(key, "milliseconds", minInterval, maxInterval)) * time.Millisecond
}

// foreign notes a key that belongs to another type of its section.
func (s section) foreign(key, kind string) {
	if s.value(key) != nil {
		s.fail(key, "it for type "+kind+" only", "remove it or change the type")
	}
}
