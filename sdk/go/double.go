//go:build !wasip1

package waypost

import (
	"math/bits"
	"strings"
)

// Headers of a test, by name in lower case.
type Headers map[string]string

// Server of an Upstream.
type Server struct {
	Name      string
	Weight    uint32
	Labels    map[string]string
	InFlight  uint32
	Down      bool
	LatencyUs uint32
}

// Double plays the host in tests: it answers what a test has said, and keeps what a plugin has
// changed. Hashes are not those of the host (XXH64), but as good for telling values apart. A test
// uses one at a time.
type Double struct {
	// What a test says.
	Servers             []Server
	Headers, Cookies    Headers
	Method, Path, Query string
	Status              uint32
	ResponseHeaders     Headers
	Attributes          map[string]string
	Trailers            []HeaderField
	Files               map[string]string
	// Upstreams answers in place of upstreams.
	Upstreams func(OutgoingRequest) (*IncomingResponse, error)
	NowUs     uint64
	// What the plugin has said.
	Counters        map[string]uint64
	Lines           []string
	Notes           []string
	ChangedRequest  Headers
	ChangedResponse Headers
	AnswerStatus    uint32
	AnswerBody      string
	DelayUs         uint64
	Route, Upstream string
	RefusalStatus   uint32
	Asked           []OutgoingRequest // of upstreams
	Entries         map[string]string // of the store
	// How bodies are wanted, nil where they are not, and what a password was held against.
	WantedRequest, WantedResponse *Manner
	WantedForm                    Form
	CheckedHash, CheckedPassword  string

	names []string
	memo  uint64
	body  *[]byte // what the bytes at hand have become, in a call that may replace them
}

var double = &Double{}

func newDouble(servers []Server, files map[string]string) *Double {
	double = &Double{
		Headers: Headers{}, Cookies: Headers{}, Method: "GET", Path: "/", ResponseHeaders: Headers{},
		Attributes: map[string]string{}, Counters: map[string]uint64{},
		ChangedRequest: Headers{}, ChangedResponse: Headers{}, Entries: map[string]string{},
		Files: files,
	}
	double.Servers = servers
	return double
}

// Upstream with the program's policy, or its filter or scorer.
type Upstream struct {
	*Double
	made any
}

// NewUpstream configures the policy with settings in JSON, for so many servers: what there is of
// policy, filter and scorer, in this order.
func NewUpstream(settings string, servers int) (*Upstream, error) {
	alike := make([]Server, servers)
	for i := range alike {
		alike[i].Weight = 1
	}
	return NewUpstreamOf(settings, alike...)
}

// NewUpstreamOf is NewUpstream with servers of one's own.
func NewUpstreamOf(settings string, servers ...Server) (*Upstream, error) {
	double := newDouble(servers, nil)
	made, err := balancing().configure([]byte(settings))
	if err != nil {
		return nil, err
	}
	if updated, is := made.(Updated); is {
		var endpoints []Endpoint
		for i, server := range double.Servers {
			endpoints = append(endpoints, Endpoint{uint32(i), uint64(i), server.Name, server.Weight})
		}
		updated.Update(endpoints)
	}
	return &Upstream{double, made}, nil
}

func balancing() *registered {
	for _, kind := range []Kind{KindPolicy, KindFilter, KindScorer} {
		if of := kinds[kind]; of != nil {
			return of
		}
	}
	panic("the program registers no policy, filter or scorer")
}

// Pick is what the policy picks for a request with these headers.
func (u *Upstream) Pick(headers Headers) uint32 {
	u.Headers = headers
	pick := Pick{NowUs: u.NowUs, Candidates: fleetCandidates(0), count: len(u.Servers)}
	return u.made.(Picker).Pick(&pick)
}

// Change has the policy take other servers in place: those that stay, by name, keep their index.
func (u *Upstream) Change(servers ...Server) {
	var endpoints []Endpoint
	for i := range u.Servers {
		u.Servers[i].Down = true
	}
	for _, server := range servers {
		index := len(u.Servers)
		for i, known := range u.Servers {
			if known.Name == server.Name {
				index = i
			}
		}
		if index == len(u.Servers) {
			u.Servers = append(u.Servers, server)
		}
		u.Servers[index] = server
		endpoints = append(endpoints, Endpoint{uint32(index), uint64(index), server.Name, server.Weight})
	}
	u.made.(Changer).Change(endpoints)
}

// Narrow is what the filter leaves for a request with these headers: indexes.
func (u *Upstream) Narrow(headers Headers) (left []uint32) {
	u.Headers = headers
	for word := uint32(0); int(word)*64 < len(u.Servers); word++ {
		set := fleetCandidates(word)
		set &= u.made.(Narrower).Narrow(&Choice{Word: word, Candidates: set, NowUs: u.NowUs})
		for ; set != 0; set &= set - 1 {
			left = append(left, 64*word+uint32(bits.TrailingZeros64(set)))
		}
	}
	return left
}

// Score is how the scorer ranks the servers for a request with these headers.
func (u *Upstream) Score(headers Headers) []uint16 {
	u.Headers = headers
	return u.made.(Ranker).Score(&Choice{NowUs: u.NowUs})
}

// Hooked is the program's hook in use.
type Hooked struct {
	*Double
	hook any
}

// NewHooked configures the hook with settings in JSON, and attaches it to places that say this.
func NewHooked(settings string, places ...string) (*Hooked, error) {
	return NewHookedWith(nil, settings, places...)
}

// NewHookedWith is NewHooked with files that the hook may read.
func NewHookedWith(files map[string]string, settings string, places ...string) (*Hooked, error) {
	double := newDouble([]Server{{Weight: 1}}, files)
	made, err := kinds[KindHook].configure([]byte(settings))
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		if err := attach(made, uint32(i), []byte(place)); err != nil {
			return nil, err
		}
	}
	return &Hooked{double, made}, nil
}

// Request is the verdict about a request with these headers; what was changed is in the double.
func (h *Hooked) Request(headers Headers) Verdict {
	h.Headers = headers
	return h.hook.(OnRequester).OnRequest(&Call{Exchange: 1, NowUs: h.NowUs})
}

// Response has the hook see an answer of this status.
func (h *Hooked) Response(status uint32, headers Headers) {
	h.Status, h.ResponseHeaders = status, headers
	h.hook.(OnResponser).OnResponse(&Call{Exchange: 1, NowUs: h.NowUs})
}

// Check goes on with a request: the check that Checks was asked for is done.
func (h *Hooked) Check(passed bool) Verdict {
	return h.hook.(OnChecker).OnCheck(&Call{Exchange: 1, NowUs: h.NowUs}, passed)
}

// RequestBody is what the hook makes of a request's body, which comes in these pieces, or as a
// whole where it is wanted so.
func (h *Hooked) RequestBody(pieces ...string) string {
	return h.bodyOf(h.WantedRequest, pieces, func(call *Call, body *Body) Verdict {
		return h.hook.(OnRequestBodier).OnRequestBody(call, body)
	})
}

// ResponseBody is the same for an answer.
func (h *Hooked) ResponseBody(pieces ...string) string {
	return h.bodyOf(h.WantedResponse, pieces, func(call *Call, body *Body) Verdict {
		return h.hook.(OnResponseBodier).OnResponseBody(call, body)
	})
}

func (h *Hooked) bodyOf(wanted *Manner, pieces []string, called func(*Call, *Body) Verdict) string {
	if wanted == nil {
		panic("the hook has not asked for this body")
	}
	if wanted.kind == 0 {
		pieces = []string{strings.Join(pieces, "")}
		switch {
		case len(pieces[0]) <= int(wanted.atMost):
		case Beyond(wanted.beyond) == PassBeyond:
			return pieces[0]
		default:
			panic("the body is larger than the hook takes")
		}
	}
	var made strings.Builder
	for i, piece := range pieces {
		bytes := []byte(piece)
		h.body = nil
		if *wanted != Watch {
			h.body = &bytes
		}
		called(&Call{Exchange: 1, NowUs: h.NowUs}, &Body{[]byte(piece), i == len(pieces)-1})
		made.Write(bytes)
	}
	h.body = nil
	return made.String()
}

// ChangeFile puts something else into a file, and tells the hook.
func (h *Hooked) ChangeFile(path, content string) {
	h.Files[path] = content
	h.hook.(FileWatcher).Changed(path, []byte(content))
}

// End tells the hook that the exchange has ended.
func (h *Hooked) End(summary Summary) {
	h.hook.(OnEnder).OnEnd(&Call{Exchange: 1, NowUs: h.NowUs}, summary)
}
