//go:build !wasip1

package waypost

import (
	"hash/fnv"
	"math/bits"
	"strings"
	"time"
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
	NowUs               uint64
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

	names []string
	memo  uint64
}

var double = &Double{}

func newDouble(servers []Server) *Double {
	double = &Double{
		Headers: Headers{}, Cookies: Headers{}, Method: "GET", Path: "/", ResponseHeaders: Headers{},
		Attributes: map[string]string{}, Counters: map[string]uint64{},
		ChangedRequest: Headers{}, ChangedResponse: Headers{},
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
	double := newDouble(servers)
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
	double := newDouble([]Server{{Weight: 1}})
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

func of(headers Headers, name string) (string, bool) {
	for key, value := range headers {
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

func set(headers Headers, name, value string) bool {
	headers[strings.ToLower(name)] = value
	return true
}

// The host's functions.

func fleetIsDown(index uint32) bool      { return double.Servers[index].Down }
func fleetInFlight(index uint32) uint32  { return double.Servers[index].InFlight }
func fleetLatencyUs(index uint32) uint32 { return double.Servers[index].LatencyUs }
func fleetName(index uint32) string      { return double.Servers[index].Name }
func fleetAllInFlight() (all []uint32) {
	for _, server := range double.Servers {
		all = append(all, server.InFlight)
	}
	return all
}
func fleetHealth(index uint32) uint32 {
	if double.Servers[index].Down {
		return 0
	}
	return 100
}
func fleetLabel(index uint32, name string) (string, bool) {
	value, is := double.Servers[index].Labels[name]
	return value, is
}
func fleetCandidates(word uint32) (set uint64) {
	for i, server := range double.Servers {
		if i/64 == int(word) && !server.Down {
			set |= 1 << (i % 64)
		}
	}
	return set
}
func clockWallMs() uint64 { return uint64(time.Now().UnixMilli()) }
func metricsCounter(name string) uint32 {
	for i, known := range double.names {
		if known == name {
			return uint32(i)
		}
	}
	double.names = append(double.names, name)
	double.Counters[name] += 0
	return uint32(len(double.names) - 1)
}
func metricsAdd(counter uint32, value uint64)  { double.Counters[double.names[counter]] += value }
func logWrite(_ uint32, line string)           { double.Lines = append(double.Lines, line) }
func requestMethod() string                    { return double.Method }
func requestAuthority() string                 { return "test" }
func requestPath() string                      { return double.Path }
func requestQuery() string                     { return double.Query }
func requestHeader(name string) (string, bool) { return of(double.Headers, name) }
func requestCookie(name string) (string, bool) { return of(double.Cookies, name) }
func requestHash(part uint32, name string, seed uint64) uint64 {
	value := double.Path
	switch part {
	case 3:
		value, _ = requestHeader(name)
	case 4:
		value, _ = requestCookie(name)
	}
	hash := fnv.New64a()
	hash.Write([]byte(value))
	return hash.Sum64() ^ seed
}
func variablesVariable(string) (string, bool)   { return "", false }
func responseStatus() uint32                    { return double.Status }
func responseHeader(name string) (string, bool) { return of(double.ResponseHeaders, name) }
func exchangeAttribute(name string) (string, bool) {
	value, is := double.Attributes[name]
	return value, is
}
func exchangeNote(text string)                    { double.Notes = append(double.Notes, text) }
func attemptMemo() uint64                         { return double.memo }
func attemptSetMemo(value uint64)                 { double.memo = value }
func attemptAddResponseHeader(name, value string) { set(double.ChangedResponse, name, value) }
func changesSetPath(path string) bool             { double.Path = path; return true }
func changesSetQuery(query string) bool           { double.Query = query; return true }
func changesSetRequestHeader(name, value string) bool {
	return set(double.ChangedRequest, name, value)
}
func changesRemoveRequestHeader(name string) bool { return set(double.ChangedRequest, name, "") }
func changesSetResponseHeader(name, value string) bool {
	return set(double.ChangedResponse, name, value)
}
func changesRemoveResponseHeader(name string) bool { return set(double.ChangedResponse, name, "") }
func changesSetAttribute(name, value string) bool  { double.Attributes[name] = value; return true }
func changesAnswer(status uint32, body string) bool {
	double.AnswerStatus, double.AnswerBody = status, body
	return true
}
func changesDelay(us uint64) bool          { double.DelayUs = us; return true }
func changesTakeRoute(name string) bool    { double.Route = name; return true }
func changesTakeUpstream(name string) bool { double.Upstream = name; return true }
