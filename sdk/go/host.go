package waypost

import (
	"errors"
	"net/netip"
	"strings"
	"unsafe"
)

// valid is a text as it may be told: UTF-8, which what clients send need not be.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// The host's interfaces, by name. A method that is not called is not imported, and needs no grant.
var (
	Fleet      fleet      // needs no grant, as Upstreams, Nginx, Clock, Metrics and Log
	Upstreams  upstream   // the upstream that a policy, filter or scorer is configured for
	Nginx      nginx      //
	Clock      clock      //
	Metrics    metrics    //
	Log        log        //
	Request    request    // granted by `request`
	Connection connection // by `request`
	Variables  variables  // by `request`
	Response   response   // by `response`
	Exchange   exchange   // by `exchange`
	Attempt    attempt    // by `exchange`
	Changes    changes    // by `changes`
	Bodies     bodies     // by `bodies`
	Checks     checks     // by `checks`
	Files      files      // by `files`
	Store      store      // by `store`

	UpstreamRequests upstreamRequests // by `http`
)

type (
	fleet      struct{}
	upstream   struct{}
	nginx      struct{}
	clock      struct{}
	metrics    struct{}
	log        struct{}
	request    struct{}
	connection struct{}
	variables  struct{}
	response   struct{}
	exchange   struct{}
	attempt    struct{}
	changes    struct{}
	bodies     struct{}
	checks     struct{}
	files      struct{}
	store      struct{}

	upstreamRequests struct{}
)

func (fleet) IsDown(index uint32) bool      { return fleetIsDown(index) }
func (fleet) Candidates(word uint32) uint64 { return fleetCandidates(word) }
func (fleet) InFlight(index uint32) uint32  { return fleetInFlight(index) }

// AllCandidates are all words of Candidates, in one crossing.
func (fleet) AllCandidates() []uint64 { return fleetAllCandidates() }

// AllInFlight is InFlight of every endpoint, in one crossing; until the next such call, as
// AllLatencyUs and AllHealth.
func (fleet) AllInFlight() []uint32  { return fleetAllInFlight() }
func (fleet) AllLatencyUs() []uint32 { return fleetAllLatencyUs() }
func (fleet) AllHealth() []uint32    { return fleetAllHealth() }

func (fleet) LatencyUs(index uint32) uint32           { return fleetLatencyUs(index) }
func (fleet) Health(index uint32) uint32              { return fleetHealth(index) }
func (fleet) Name(index uint32) string                { return fleetName(index) }
func (fleet) Label(i uint32, n string) (string, bool) { return fleetLabel(i, n) }

func (upstream) Name() string         { return upstreamName() }
func (upstream) HasBackups() bool     { return upstreamHasBackups() }
func (upstream) CarriesStreams() bool { return upstreamCarriesStreams() }

// CheckVariable tells what is wrong with the name of a variable, and whether anything is; likewise
// CheckEarlyVariable of one that is read before a server was chosen.
func (nginx) CheckVariable(name string) (string, bool)      { return nginxCheckVariable(name) }
func (nginx) CheckEarlyVariable(name string) (string, bool) { return nginxCheckEarlyVariable(name) }
func (nginx) MaxFails(index uint32) uint32                  { return nginxMaxFails(index) }
func (nginx) FailTimeout(index uint32) uint64               { return nginxFailTimeout(index) }
func (nginx) Route(index uint32) string                     { return nginxRoute(index) }

// WallMs are milliseconds since 1970.
func (clock) WallMs() uint64 { return clockWallMs() }

// Counter makes a counter by name, in the function that is registered.
func (metrics) Counter(name string) uint32       { return metricsCounter(name) }
func (metrics) Add(counter uint32, value uint64) { metricsAdd(counter, value) }

func (log) Error(line string) { logWrite(0, valid(line)) }
func (log) Warn(line string)  { logWrite(1, valid(line)) }
func (log) Info(line string)  { logWrite(2, valid(line)) }
func (log) Debug(line string) { logWrite(3, valid(line)) }

// WriteExchange has what the host tells of the exchange at hand behind the line.
func (log) WriteExchange(level Level, line string) { logWriteExchange(uint32(level), valid(line)) }

func (request) Method() string                    { return requestMethod() }
func (request) Scheme() string                    { return requestScheme() }
func (request) Authority() string                 { return requestAuthority() }
func (request) Path() string                      { return requestPath() }
func (request) Query() string                     { return requestQuery() }
func (request) DecodedPath() string               { return requestDecodedPath() }
func (request) Header(name string) (string, bool) { return requestHeader(name) }
func (request) HeaderAll(name string) []string    { return requestHeaderAll(name) }
func (request) Headers() []HeaderField            { return requestHeaders() }
func (request) Cookie(name string) (string, bool) { return requestCookie(name) }

// Version is 10, 11, 20 or 30: HTTP/1.0 to HTTP/3.
func (request) Version() int { return [...]int{10, 11, 20, 30}[requestVersion()] }

// HashAuthority is XXH64 of the host and port that were asked for, without copying them; the others
// are of what their names say.
func (request) HashAuthority(seed uint64) uint64           { return requestHash(0, "", seed) }
func (request) HashPath(seed uint64) uint64                { return requestHash(1, "", seed) }
func (request) HashQuery(seed uint64) uint64               { return requestHash(2, "", seed) }
func (request) HashHeader(name string, seed uint64) uint64 { return requestHash(3, name, seed) }
func (request) HashCookie(name string, seed uint64) uint64 { return requestHash(4, name, seed) }
func (request) HashClientAddress(seed uint64) uint64       { return requestHash(5, "", seed) }

// Addresses are not valid where there is none, as for a unix socket.
func (connection) ClientAddress() netip.Addr { return connectionClientAddress() }
func (connection) PeerAddress() netip.Addr   { return connectionPeerAddress() }
func (connection) PeerPort() uint32          { return connectionPeerPort() }
func (connection) LocalAddress() netip.Addr  { return connectionLocalAddress() }
func (connection) LocalPort() uint32         { return connectionLocalPort() }

func (connection) ServerName() (string, bool)         { return connectionServerName() }
func (connection) Alpn() (string, bool)               { return connectionAlpn() }
func (connection) TlsVersion() (string, bool)         { return connectionTlsVersion() }
func (connection) CertificateSubject() (string, bool) { return connectionCertificateSubject() }

// CertificateFingerprint is SHA-256, 32 bytes.
func (connection) CertificateFingerprint() (string, bool) { return connectionCertificateFingerprint() }

// Variable is one of nginx's, without the `$`.
func (variables) Variable(name string) (string, bool) { return variablesVariable(name) }

func (response) Status() uint32                    { return responseStatus() }
func (response) Header(name string) (string, bool) { return responseHeader(name) }
func (response) HeaderAll(name string) []string    { return responseHeaderAll(name) }
func (response) IsLocal() bool                     { return responseIsLocal() }

func (exchange) Attribute(name string) (string, bool) { return exchangeAttribute(name) }

// Key is the value of the key that PerKey names.
func (exchange) Key() string        { return exchangeKey() }
func (exchange) IsNoteWanted() bool { return exchangeIsNoteWanted() }

// Note says why it was decided so: `$plugin_note` in logs.
func (exchange) Note(text string) { exchangeNote(valid(text)) }

func (attempt) Memo() uint64                         { return attemptMemo() }
func (attempt) SetMemo(value uint64)                 { attemptSetMemo(value) }
func (attempt) AddResponseHeader(name, value string) { attemptAddResponseHeader(name, value) }
func (attempt) SetRefusalStatus(status uint32)       { attemptSetRefusalStatus(status) }
func (attempt) Failure() FailureKind                 { return FailureKind(attemptFailure()) }
func (attempt) BytesSent() uint64                    { return attemptBytesSent() }
func (attempt) BytesReceived() uint64                { return attemptBytesReceived() }

func (changes) SetMethod(method string) bool { return changesSetMethod(method) }
func (changes) SetPath(path string) bool     { return changesSetPath(path) }
func (changes) SetQuery(query string) bool   { return changesSetQuery(query) }
func (changes) SetRequestHeader(name, value string) bool {
	return changesSetRequestHeader(name, value)
}
func (changes) AddRequestHeader(name, value string) bool {
	return changesAddRequestHeader(name, value)
}
func (changes) RemoveRequestHeader(name string) bool { return changesRemoveRequestHeader(name) }
func (changes) SetResponseHeader(name, value string) bool {
	return changesSetResponseHeader(name, value)
}
func (changes) AddResponseHeader(name, value string) bool {
	return changesAddResponseHeader(name, value)
}
func (changes) RemoveResponseHeader(name string) bool  { return changesRemoveResponseHeader(name) }
func (changes) SetAttribute(name, value string) bool   { return changesSetAttribute(name, value) }
func (changes) Answer(status uint32, body string) bool { return changesAnswer(status, body) }
func (changes) Delay(us uint64) bool                   { return changesDelay(us) }
func (changes) TakeRoute(name string) bool             { return changesTakeRoute(name) }
func (changes) TakeUpstream(name string) bool          { return changesTakeUpstream(name) }

// CheckRoute tells what is wrong with a name in the settings that is meant for TakeRoute, and
// whether anything is; likewise CheckUpstream.
func (changes) CheckRoute(name string) (string, bool)    { return changesCheckRoute(name) }
func (changes) CheckUpstream(name string) (string, bool) { return changesCheckUpstream(name) }

// WantRequestBody is for OnRequest and OnCheck; false where there is no OnRequestBody.
func (bodies) WantRequestBody(manner Manner) bool {
	makeRoom(manner)
	return bodiesWantRequestBody(manner.kind, manner.atMost, manner.beyond)
}

// WantResponseBody is for OnResponse; false where there is no OnResponseBody.
func (bodies) WantResponseBody(manner Manner, form Form) bool {
	makeRoom(manner)
	return bodiesWantResponseBody(manner.kind, manner.atMost, manner.beyond, uint32(form))
}

// SetBody says what goes on in place of the bytes at hand.
func (bodies) SetBody(body []byte) bool { return bodiesSetBody(bytesAsText(body)) }

// Trailers come with the last piece of a request's body.
func (bodies) Trailers() []HeaderField { return bodiesTrailers() }

// VerifyPassword begins a check: answer Wait, and see OnCheck.
func (checks) VerifyPassword(hash, password string) { checksVerifyPassword(hash, password) }

// CheckHash tells why no password can be verified by a hash, and whether that is so.
func (checks) CheckHash(hash string) (string, bool) { return checksCheckHash(hash) }

// Read is for the function that is registered, and for Attach: nil where there is no such file.
func (files) Read(path string) ([]byte, error) {
	content, isThere, why := filesRead(path)
	switch {
	case why != "":
		return nil, errors.New(why)
	case !isThere:
		return nil, nil
	}
	return []byte(content), nil
}
func (files) IsThere(path string) bool { return filesIsThere(path) }

// Send is for OnRequest, OnCheck, and OnRequestBody with a whole body: it waits for the response, while the host serves others.
// An error is a RequestError.
func (upstreamRequests) Send(request OutgoingRequest) (*IncomingResponse, error) {
	response, failed := upstreamRequestsSend(&request)
	if failed != 0 {
		return nil, RequestError(failed - 1)
	}
	return response, nil
}

// SendAndLeave does not wait: whatever is answered is thrown away.
func (upstreamRequests) SendAndLeave(request OutgoingRequest) error {
	if failed := upstreamRequestsSendAndLeave(&request); failed != 0 {
		return RequestError(failed - 1)
	}
	return nil
}

// The store is shared by all instances of a plugin. Times to live are in milliseconds, 0 for ever.
// An error is a StoreError.
func (store) IsElsewhere() bool { return storeIsElsewhere() }
func (store) Get(key string) (value string, isThere bool, err error) {
	value, isThere, refused := storeGet(key)
	return value, isThere, stored(refused)
}
func (store) Set(key, value string, ttlMs uint64) error {
	return stored(storeSet(key, value, ttlMs))
}
func (store) Add(key string, amount int64, ttlMs uint64) (int64, error) {
	sum, refused := storeAdd(key, amount, ttlMs)
	return sum, stored(refused)
}

// CompareAndSwap keeps a value if the present one is expected, nil where there must be none.
func (store) CompareAndSwap(key string, expected *string, value string, ttlMs uint64) (bool, error) {
	isDone, refused := storeCompareAndSwap(key, expected, value, ttlMs)
	return isDone, stored(refused)
}
func (store) Delete(key string) (bool, error) {
	wasThere, refused := storeDelete(key)
	return wasThere, stored(refused)
}

// Fill pours an amount into a leaky bucket, and tells its level: poured if that is no more than the
// capacity.
func (store) Fill(key string, amount, leak, capacity uint64) (uint64, error) {
	level, refused := storeFill(key, amount, leak, capacity)
	return level, stored(refused)
}

// stored is an error by its number, from 1 on.
func stored(refused uint32) error {
	if refused == 0 {
		return nil
	}
	return StoreError(refused - 1)
}

func bytesAsText(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }
