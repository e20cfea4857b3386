package waypost

import (
	"errors"
	"slices"
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
	double := newDouble(nil, nil)
	Exchange.Note("tenant \xff")
	Log.Info("tenant \xff")
	if double.Notes[0] != "tenant \uFFFD" || double.Lines[0] != double.Notes[0] {
		t.Error(double.Notes, double.Lines)
	}
}

// A hook with every phase.
type stamp struct{ users string }

func newStamp(struct{}) (*stamp, error) {
	users, err := Files.Read("users")
	return &stamp{string(users)}, err
}
func (s *stamp) OnRequest(*Call) Verdict {
	Checks.VerifyPassword(s.users, "secret")
	Bodies.WantRequestBody(Whole(10, PassBeyond))
	return Wait
}
func (*stamp) OnCheck(_ *Call, passed bool) Verdict {
	if passed {
		return Proceed
	}
	return Answer
}
func (*stamp) OnRequestBody(_ *Call, body *Body) Verdict {
	Bodies.SetBody(append(body.Bytes, '.'))
	return Proceed
}
func (*stamp) OnResponse(*Call) { Bodies.WantResponseBody(Watch, Decoded) }
func (s *stamp) OnResponseBody(_ *Call, body *Body) Verdict {
	if Bodies.SetBody(nil) {
		panic("a body that is watched is not replaced")
	}
	return Proceed
}
func (s *stamp) Changed(_ string, content []byte) { s.users = string(content) }

func TestAHookThatHasAskedForBodiesMakesOthersOfThem(t *testing.T) {
	defer clear(kinds)
	Hook("stamps", newStamp)
	hooked, err := NewHookedWith(map[string]string{"users": "jo"}, "{}")
	if err != nil {
		t.Fatal(err)
	}
	if hooked.Request(nil) != Wait || hooked.CheckedHash != "jo" || hooked.Check(true) != Proceed {
		t.Error(hooked.CheckedHash)
	}
	if made := hooked.RequestBody("a", "b"); made != "ab." {
		t.Error(made)
	}
	if made := hooked.RequestBody("eleven bytes"); made != "eleven bytes" {
		t.Error(made)
	}
	hooked.Response(200, nil)
	if made := hooked.ResponseBody("a", "b"); made != "ab" || hooked.WantedForm != Decoded {
		t.Error(made)
	}
	hooked.ChangeFile("users", "ann")
	if hooked.Request(nil); hooked.CheckedHash != "ann" {
		t.Error(hooked.CheckedHash)
	}
	wanted := []string{
		"description", "file-changes", "hook", "imports", "on-check", "on-request", "on-request-body",
		"on-response", "on-response-body", "plugin",
	}
	if exported := interfaces(); !slices.Equal(exported, wanted) {
		t.Error(exported)
	}
}

// A policy that sends all to the last server that it was told of.
type last struct{ index uint32 }

func (l *last) Pick(*Pick) uint32           { return l.index }
func (l *last) Change(endpoints []Endpoint) { l.index = endpoints[len(endpoints)-1].Index }

func TestAPolicyTakesOtherServersInPlace(t *testing.T) {
	defer clear(kinds)
	Policy("the last one", func(struct{}) (*last, error) { return &last{}, nil })
	upstream, err := NewUpstreamOf("{}", Server{Name: "a"}, Server{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	upstream.Change(Server{Name: "b"}, Server{Name: "c"})
	if picked := upstream.Pick(nil); picked != 2 || !upstream.Servers[0].Down {
		t.Error(picked)
	}
}

func TestUpstreamsAreAsked(t *testing.T) {
	double := newDouble(nil, nil)
	if _, err := UpstreamRequests.Send(OutgoingRequest{}); err != RequestError(3) {
		t.Error(err)
	}
	double.Upstreams = func(request OutgoingRequest) (*IncomingResponse, error) {
		return &IncomingResponse{Status: len(request.Target)}, nil
	}
	response, err := UpstreamRequests.Send(OutgoingRequest{Upstream: "auth", Target: "/jo"})
	if err != nil || response.Status != 3 {
		t.Error(response, err)
	}
	if err := UpstreamRequests.SendAndLeave(OutgoingRequest{}); err != nil || len(double.Asked) != 3 {
		t.Error(err, double.Asked)
	}
}

func TestTheStoreSaysWhatItRefuses(t *testing.T) {
	newDouble(nil, nil)
	if err := Store.Set("name", "jo", 0); err != nil {
		t.Error(err)
	}
	if _, err := Store.Add("name", 1, 0); err != StoreWrongKind {
		t.Error(err)
	}
	jo := "jo"
	if isDone, err := Store.CompareAndSwap("name", &jo, "ann", 0); !isDone || err != nil {
		t.Error(isDone, err)
	}
	for _, wanted := range []uint64{0, 2, 4} {
		if level, err := Store.Fill("bucket", 2, 1, 3); level != wanted || err != nil {
			t.Error(level, err)
		}
	}
}
