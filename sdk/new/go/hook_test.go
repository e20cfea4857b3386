package main

import (
	"testing"

	waypost "github.com/waypost/waypost/sdk/go"
)

func TestTheServerLearnsTheTenant(t *testing.T) {
	hooked, _ := waypost.NewHooked(`{}`)
	if verdict := hooked.Request(waypost.Headers{"X-Tenant": "acme"}); verdict != waypost.Proceed {
		t.Error(verdict)
	}
	if tenant := hooked.ChangedRequest["x-authenticated-tenant"]; tenant != "acme" {
		t.Error(tenant)
	}
}

func TestARequestWithoutATenantIsA401(t *testing.T) {
	hooked, _ := waypost.NewHooked(`{}`)
	if verdict := hooked.Request(nil); verdict != waypost.Answer || hooked.AnswerStatus != 401 {
		t.Error(verdict, hooked.AnswerStatus)
	}
	if hooked.AnswerBody != "say who you are: x-tenant\n" {
		t.Error(hooked.AnswerBody)
	}
}

func TestAMisspelledSettingIsRefused(t *testing.T) {
	_, err := waypost.NewHooked(`{"haeder": "x-tenant"}`)
	if err == nil || err.Error() != "unknown key `haeder`; did you mean `header`?" {
		t.Error(err)
	}
}
