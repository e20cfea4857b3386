package main

import (
	"testing"

	waypost "github.com/waypost/waypost/sdk/go"
)

func TestATenantStaysOnItsServerWhateverItsLoad(t *testing.T) {
	upstream, _ := waypost.NewUpstream(`{}`, 3)
	acme := waypost.Headers{"X-Tenant": "acme"}
	first := upstream.Pick(acme)
	upstream.Servers[first].InFlight = 100
	if again := upstream.Pick(acme); again != first {
		t.Errorf("first %d, then %d", first, again)
	}
}

func TestEverybodyElseGetsTheLeastBusyServerThatIsUp(t *testing.T) {
	upstream, _ := waypost.NewUpstream(`{}`, 3)
	upstream.Servers[0].InFlight = 2
	upstream.Servers[1].InFlight = 1
	upstream.Servers[2].Down = true
	if picked := upstream.Pick(nil); picked != 1 {
		t.Errorf("picked %d", picked)
	}
}

func TestAMisspelledSettingIsRefused(t *testing.T) {
	_, err := waypost.NewUpstream(`{"haeder": "x-tenant"}`, 1)
	if err == nil || err.Error() != "unknown key `haeder`; did you mean `header`?" {
		t.Error(err)
	}
}
