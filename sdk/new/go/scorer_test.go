package main

import (
	"slices"
	"testing"

	waypost "github.com/waypost/waypost/sdk/go"
)

func TestTheLeastBusyServerIsTheBest(t *testing.T) {
	upstream, _ := waypost.NewUpstream(`{"most": 4}`, 3)
	upstream.Servers[0].InFlight = 2
	upstream.Servers[2].InFlight = 9
	if scores := upstream.Score(nil); !slices.Equal(scores, []uint16{32767, 65535, 0}) {
		t.Error(scores)
	}
}

func TestAMisspelledSettingIsRefused(t *testing.T) {
	_, err := waypost.NewUpstream(`{"mots": 4}`, 1)
	if err == nil || err.Error() != "unknown key `mots`; did you mean `most`?" {
		t.Error(err)
	}
}
