package main

import (
	"errors"
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

func TestEverybodyElseGetsTheLeastLoadedServerThatIsUp(t *testing.T) {
	upstream, _ := waypost.NewUpstream(`{}`, 3)
	upstream.Servers[0].InFlight = 2
	upstream.Servers[1].InFlight = 1
	upstream.Servers[2].Down = true
	if picked := upstream.Pick(nil); picked != 1 {
		t.Errorf("picked %d", picked)
	}
}

func TestAMisspelledSettingIsRefusedByItsKey(t *testing.T) {
	_, err := waypost.NewUpstream(`{"haeder": "x-customer"}`, 1)
	var refused *waypost.SettingsError
	if !errors.As(err, &refused) || refused.Key != "haeder" {
		t.Fatal(err)
	}
	if refused.Message != "unknown key `haeder`; did you mean `header`?" {
		t.Error(refused.Message)
	}
}

func TestRequestsAreCountedAndStampedByTenant(t *testing.T) {
	hooked, err := waypost.NewHooked(`{"tenants": ["acme"]}`)
	if err != nil {
		t.Fatal(err)
	}
	hooked.Request(waypost.Headers{"x-tenant": "acme"})
	if hooked.Request(waypost.Headers{"x-tenant": "acme"}) != waypost.Proceed {
		t.Error("the verdict is another one")
	}
	if hooked.ChangedRequest["x-counted-as"] != "acme" || hooked.ChangedResponse["x-counted"] != "2" {
		t.Error(hooked.ChangedRequest, hooked.ChangedResponse)
	}
	hooked.Request(waypost.Headers{"x-tenant": "initech"})
	if hooked.Counters["requests_acme"] != 2 || hooked.Counters["requests_other"] != 1 {
		t.Error(hooked.Counters)
	}
}

func TestAWordIsMaskedInBodiesEitherWayWhereItIsToBe(t *testing.T) {
	hooked, err := waypost.NewHooked(`{"tenants": [], "mask": "4111"}`)
	if err != nil {
		t.Fatal(err)
	}
	hooked.Request(nil)
	hooked.Response(200, nil)
	if made := hooked.RequestBody("card 4111"); made != "card ***" {
		t.Error(made)
	}
	if made := hooked.ResponseBody("41", "11"); made != "***" {
		t.Error(made)
	}
	without, _ := waypost.NewHooked(`{"tenants": []}`)
	without.Request(nil)
	without.Response(200, nil)
	if without.WantedRequest != nil || without.WantedResponse != nil {
		t.Error("it wants bodies that it has no use for")
	}
}
