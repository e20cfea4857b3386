//go:build !wasip1

package waypost

import (
	"errors"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

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

func allOf(headers Headers, name string) []string {
	if value, is := of(headers, name); is {
		return []string{value}
	}
	return nil
}

// The host's functions.

func upstreamName() string                          { return "test" }
func upstreamHasBackups() bool                      { return false }
func upstreamCarriesStreams() bool                  { return false }
func nginxCheckVariable(string) (string, bool)      { return "", false }
func nginxCheckEarlyVariable(string) (string, bool) { return "", false }
func nginxMaxFails(uint32) uint32                   { return 1 }
func nginxFailTimeout(uint32) uint64                { return 10 }
func nginxRoute(uint32) string                      { return "" }
func fleetIsDown(index uint32) bool                 { return double.Servers[index].Down }
func fleetInFlight(index uint32) uint32             { return double.Servers[index].InFlight }
func fleetLatencyUs(index uint32) uint32            { return double.Servers[index].LatencyUs }
func fleetName(index uint32) string                 { return double.Servers[index].Name }
func fleetAllInFlight() (all []uint32) {
	for _, server := range double.Servers {
		all = append(all, server.InFlight)
	}
	return all
}
func fleetAllLatencyUs() (all []uint32) {
	for _, server := range double.Servers {
		all = append(all, server.LatencyUs)
	}
	return all
}
func fleetAllHealth() (all []uint32) {
	for i := range double.Servers {
		all = append(all, fleetHealth(uint32(i)))
	}
	return all
}
func fleetAllCandidates() (all []uint64) {
	for word := 0; word*64 < len(double.Servers); word++ {
		all = append(all, fleetCandidates(uint32(word)))
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
func metricsAdd(counter uint32, value uint64)    { double.Counters[double.names[counter]] += value }
func logWrite(_ uint32, line string)             { double.Lines = append(double.Lines, line) }
func logWriteExchange(level uint32, line string) { logWrite(level, line) }
func requestScheme() string                      { return "http" }
func requestDecodedPath() string                 { return double.Path }
func requestVersion() uint32                     { return 1 }
func requestHeaderAll(name string) []string      { return allOf(double.Headers, name) }
func requestHeaders() (all []HeaderField) {
	for name, value := range double.Headers {
		all = append(all, HeaderField{name, value})
	}
	return all
}
func connectionClientAddress() netip.Addr              { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }
func connectionPeerAddress() netip.Addr                { return connectionClientAddress() }
func connectionLocalAddress() netip.Addr               { return connectionClientAddress() }
func connectionPeerPort() uint32                       { return 50000 }
func connectionLocalPort() uint32                      { return 80 }
func connectionServerName() (string, bool)             { return "", false }
func connectionAlpn() (string, bool)                   { return "", false }
func connectionTlsVersion() (string, bool)             { return "", false }
func connectionCertificateSubject() (string, bool)     { return "", false }
func connectionCertificateFingerprint() (string, bool) { return "", false }
func requestMethod() string                            { return double.Method }
func requestAuthority() string                         { return "test" }
func requestPath() string                              { return double.Path }
func requestQuery() string                             { return double.Query }
func requestHeader(name string) (string, bool)         { return of(double.Headers, name) }
func requestCookie(name string) (string, bool)         { return of(double.Cookies, name) }
func requestHash(part uint32, name string, seed uint64) uint64 {
	value := double.Path
	switch part {
	case 0:
		value = requestAuthority()
	case 2:
		value = double.Query
	case 5:
		value = "127.0.0.1"
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
func responseHeaderAll(name string) []string    { return allOf(double.ResponseHeaders, name) }
func responseIsLocal() bool                     { return false }
func exchangeKey() string                       { return "" }
func exchangeIsNoteWanted() bool                { return true }
func exchangeAttribute(name string) (string, bool) {
	value, is := double.Attributes[name]
	return value, is
}
func exchangeNote(text string)                        { double.Notes = append(double.Notes, text) }
func attemptMemo() uint64                             { return double.memo }
func attemptSetMemo(value uint64)                     { double.memo = value }
func attemptAddResponseHeader(name, value string)     { set(double.ChangedResponse, name, value) }
func attemptSetRefusalStatus(status uint32)           { double.RefusalStatus = status }
func attemptFailure() uint32                          { return 0 }
func attemptBytesSent() uint64                        { return 0 }
func attemptBytesReceived() uint64                    { return 0 }
func changesCheckRoute(string) (string, bool)         { return "", false }
func changesCheckUpstream(string) (string, bool)      { return "", false }
func changesSetMethod(method string) bool             { double.Method = method; return true }
func changesAddRequestHeader(name, value string) bool { return set(double.ChangedRequest, name, value) }
func changesAddResponseHeader(name, value string) bool {
	return set(double.ChangedResponse, name, value)
}
func changesSetPath(path string) bool   { double.Path = path; return true }
func changesSetQuery(query string) bool { double.Query = query; return true }
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

func makeRoom(Manner) {}
func bodiesWantRequestBody(manner, atMost, beyond uint32) bool {
	double.WantedRequest = &Manner{manner, atMost, beyond}
	return true
}
func bodiesWantResponseBody(manner, atMost, beyond, form uint32) bool {
	double.WantedResponse, double.WantedForm = &Manner{manner, atMost, beyond}, Form(form)
	return true
}
func bodiesSetBody(body string) bool {
	if double.body == nil {
		return false
	}
	*double.body = []byte(body)
	return true
}
func bodiesTrailers() []HeaderField { return double.Trailers }

func checksVerifyPassword(hash, password string) {
	double.CheckedHash, double.CheckedPassword = hash, password
}
func checksCheckHash(string) (string, bool) { return "", false }
func filesIsThere(path string) bool {
	_, is := double.Files[path]
	return is
}
func filesRead(path string) (content string, isThere bool, why string) {
	content, isThere = double.Files[path]
	return content, isThere, ""
}

func upstreamRequestsSend(request *OutgoingRequest) (*IncomingResponse, uint32) {
	const noneLive = 4 // one more than its place among the failures
	double.Asked = append(double.Asked, *request)
	if double.Upstreams == nil {
		return nil, noneLive
	}
	response, err := double.Upstreams(*request)
	var failed RequestError
	switch {
	case errors.As(err, &failed):
		return nil, uint32(failed) + 1
	case err != nil:
		return nil, noneLive
	}
	return response, 0
}
func upstreamRequestsSendAndLeave(request *OutgoingRequest) uint32 {
	double.Asked = append(double.Asked, *request)
	return 0
}

// The store: nothing expires.

func storeIsElsewhere() bool { return false }
func storeGet(key string) (string, bool, uint32) {
	value, is := double.Entries[key]
	return value, is, 0
}
func storeSet(key, value string, _ uint64) uint32 {
	double.Entries[key] = value
	return 0
}
func storeAdd(key string, amount int64, ttlMs uint64) (int64, uint32) {
	before, is := double.Entries[key]
	number, err := strconv.ParseInt(before, 10, 64)
	if is && err != nil {
		return 0, uint32(StoreWrongKind) + 1
	}
	return number + amount, storeSet(key, strconv.FormatInt(number+amount, 10), ttlMs)
}
func storeCompareAndSwap(key string, expected *string, value string, ttlMs uint64) (bool, uint32) {
	before, is := double.Entries[key]
	if is != (expected != nil) || is && before != *expected {
		return false, 0
	}
	return true, storeSet(key, value, ttlMs)
}
func storeDelete(key string) (bool, uint32) {
	_, is := double.Entries[key]
	delete(double.Entries, key)
	return is, 0
}
func storeFill(key string, amount, leak, capacity uint64) (uint64, uint32) {
	_, is := double.Entries[key]
	before, refused := storeAdd(key, 0, 0)
	level := uint64(before)
	if is {
		level += amount
	}
	if refused == 0 && level <= capacity {
		storeAdd(key, int64(level)-before, 0)
	}
	return level, refused
}
