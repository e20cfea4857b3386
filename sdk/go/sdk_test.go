package waypost

import (
	"errors"
	"testing"
)

type mixed struct {
	Mode  string   `key:"mode" default:"safe"`
	Count uint     `key:"count" default:"3"`
	Names []string `key:"names" required:"true"`
}

func TestSettingsAreReadByTheirTagsAndRefusedByTheirKey(t *testing.T) {
	var read mixed
	err := ReadSettings([]byte(`{"names": ["a"]}`), &read)
	if err != nil || read.Mode != "safe" || read.Count != 3 {
		t.Fatal(err, read)
	}
	for given, wanted := range map[string]SettingsError{
		`{}`:                         {"names", "`names` is missing"},
		`{"names": 1}`:               {"names", "`names` must be a list"},
		`{"names": [], "count": -1}`: {"count", "`count` must be a whole number, 0 or more"},
		`{"names": [], "cuont": 1}`:  {"cuont", "unknown key `cuont`; did you mean `count`?"},
		`{"names": [], "colour": "x"}`: {
			"colour", "unknown key `colour`; known keys: `mode`, `count`, `names`",
		},
	} {
		var refused *SettingsError
		if err := ReadSettings([]byte(given), &mixed{}); !errors.As(err, &refused) || *refused != wanted {
			t.Errorf("%s: %v", given, err)
		}
	}
}

func TestASectionIsOneOfAModule(t *testing.T) {
	if made := string(section("ab", []byte("xyz"))); made != "\x00\x06\x02abxyz" {
		t.Errorf("%q", made)
	}
}

func TestWhatIsToldIsUTF8WhateverAClientSends(t *testing.T) {
	double := newDouble(nil)
	Exchange.Note("tenant \xff")
	Log.Info("tenant \xff")
	if double.Notes[0] != "tenant \uFFFD" || double.Lines[0] != double.Notes[0] {
		t.Error(double.Notes, double.Lines)
	}
}
