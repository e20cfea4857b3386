package main

import (
	"slices"
	"testing"

	waypost "github.com/waypost/waypost/sdk/go"
)

// Servers in the zones `a`, `b` and `a`.
func upstream() *waypost.Upstream {
	var servers []waypost.Server
	for _, zone := range []string{"a", "b", "a"} {
		servers = append(servers, waypost.Server{Labels: map[string]string{"zone": zone}})
	}
	upstream, _ := waypost.NewUpstreamOf(`{}`, servers...)
	return upstream
}

func TestARequestGoesToTheZoneThatItNames(t *testing.T) {
	upstream := upstream()
	if left := upstream.Narrow(waypost.Headers{"X-Zone": "a"}); !slices.Equal(left, []uint32{0, 2}) {
		t.Error(left)
	}
	if left := upstream.Narrow(nil); len(left) != 3 {
		t.Error(left)
	}
}

func TestAZoneWithoutAServerLeavesNone(t *testing.T) {
	if left := upstream().Narrow(waypost.Headers{"X-Zone": "c"}); len(left) != 0 {
		t.Error(left)
	}
}
