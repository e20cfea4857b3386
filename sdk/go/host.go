package waypost

import "strings"

// valid is a text as it may be told: UTF-8, which what clients send need not be.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// The host's interfaces, by name. A method that is not called is not imported, and needs no grant.
var (
	Fleet     fleet     // needs no grant, as Clock, Metrics and Log
	Clock     clock     //
	Metrics   metrics   //
	Log       log       //
	Request   request   // granted by `request`
	Variables variables // by `request`
	Response  response  // by `response`
	Exchange  exchange  // by `exchange`
	Attempt   attempt   // by `exchange`
	Changes   changes   // by `changes`
)

type (
	fleet     struct{}
	clock     struct{}
	metrics   struct{}
	log       struct{}
	request   struct{}
	variables struct{}
	response  struct{}
	exchange  struct{}
	attempt   struct{}
	changes   struct{}
)

func (fleet) IsDown(index uint32) bool      { return fleetIsDown(index) }
func (fleet) Candidates(word uint32) uint64 { return fleetCandidates(word) }
func (fleet) InFlight(index uint32) uint32  { return fleetInFlight(index) }

// AllInFlight is InFlight of every endpoint, in one crossing; until the next call.
func (fleet) AllInFlight() []uint32 { return fleetAllInFlight() }

func (fleet) LatencyUs(index uint32) uint32           { return fleetLatencyUs(index) }
func (fleet) Health(index uint32) uint32              { return fleetHealth(index) }
func (fleet) Name(index uint32) string                { return fleetName(index) }
func (fleet) Label(i uint32, n string) (string, bool) { return fleetLabel(i, n) }

// WallMs are milliseconds since 1970.
func (clock) WallMs() uint64 { return clockWallMs() }

// Counter makes a counter by name, in the function that is registered.
func (metrics) Counter(name string) uint32       { return metricsCounter(name) }
func (metrics) Add(counter uint32, value uint64) { metricsAdd(counter, value) }

func (log) Error(line string) { logWrite(0, valid(line)) }
func (log) Warn(line string)  { logWrite(1, valid(line)) }
func (log) Info(line string)  { logWrite(2, valid(line)) }
func (log) Debug(line string) { logWrite(3, valid(line)) }

func (request) Method() string                    { return requestMethod() }
func (request) Authority() string                 { return requestAuthority() }
func (request) Path() string                      { return requestPath() }
func (request) Query() string                     { return requestQuery() }
func (request) Header(name string) (string, bool) { return requestHeader(name) }
func (request) Cookie(name string) (string, bool) { return requestCookie(name) }

// HashHeader is XXH64 of a header's value, without copying it; HashCookie and HashPath likewise.
func (request) HashHeader(name string, seed uint64) uint64 { return requestHash(3, name, seed) }
func (request) HashCookie(name string, seed uint64) uint64 { return requestHash(4, name, seed) }
func (request) HashPath(seed uint64) uint64                { return requestHash(1, "", seed) }

// Variable is one of nginx's, without the `$`.
func (variables) Variable(name string) (string, bool) { return variablesVariable(name) }

func (response) Status() uint32                    { return responseStatus() }
func (response) Header(name string) (string, bool) { return responseHeader(name) }

func (exchange) Attribute(name string) (string, bool) { return exchangeAttribute(name) }

// Note says why it was decided so: `$plugin_note` in logs.
func (exchange) Note(text string) { exchangeNote(valid(text)) }

func (attempt) Memo() uint64                         { return attemptMemo() }
func (attempt) SetMemo(value uint64)                 { attemptSetMemo(value) }
func (attempt) AddResponseHeader(name, value string) { attemptAddResponseHeader(name, value) }

func (changes) SetPath(path string) bool   { return changesSetPath(path) }
func (changes) SetQuery(query string) bool { return changesSetQuery(query) }
func (changes) SetRequestHeader(name, value string) bool {
	return changesSetRequestHeader(name, value)
}
func (changes) RemoveRequestHeader(name string) bool { return changesRemoveRequestHeader(name) }
func (changes) SetResponseHeader(name, value string) bool {
	return changesSetResponseHeader(name, value)
}
func (changes) RemoveResponseHeader(name string) bool  { return changesRemoveResponseHeader(name) }
func (changes) SetAttribute(name, value string) bool   { return changesSetAttribute(name, value) }
func (changes) Answer(status uint32, body string) bool { return changesAnswer(status, body) }
func (changes) Delay(us uint64) bool                   { return changesDelay(us) }
func (changes) TakeRoute(name string) bool             { return changesTakeRoute(name) }
func (changes) TakeUpstream(name string) bool          { return changesTakeUpstream(name) }
