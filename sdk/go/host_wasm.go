//go:build wasip1

package waypost

import (
	"net/netip"
	"runtime"
	"unsafe"
)

// What the host hands over, brought into the forms that Go likes.

func requestMethod() string          { requestMethodCore(address()); return text() }
func requestScheme() string          { requestSchemeCore(address()); return text() }
func requestAuthority() string       { requestAuthorityCore(address()); return text() }
func requestPath() string            { requestPathCore(address()); return text() }
func requestQuery() string           { requestQueryCore(address()); return text() }
func requestDecodedPath() string     { requestDecodedPathCore(address()); return text() }
func exchangeKey() string            { exchangeKeyCore(address()); return text() }
func upstreamName() string           { upstreamNameCore(address()); return text() }
func fleetName(index uint32) string  { fleetNameCore(index, address()); return text() }
func nginxRoute(index uint32) string { nginxRouteCore(index, address()); return text() }
func requestHeader(name string) (string, bool) {
	requestHeaderCore(name, address())
	return found()
}
func requestCookie(name string) (string, bool) {
	requestCookieCore(name, address())
	return found()
}
func responseHeader(name string) (string, bool) {
	responseHeaderCore(name, address())
	return found()
}
func exchangeAttribute(name string) (string, bool) {
	exchangeAttributeCore(name, address())
	return found()
}
func variablesVariable(name string) (string, bool) {
	variablesVariableCore(name, address())
	return found()
}
func nginxCheckVariable(name string) (string, bool) {
	nginxCheckVariableCore(name, address())
	return found()
}
func nginxCheckEarlyVariable(name string) (string, bool) {
	nginxCheckEarlyVariableCore(name, address())
	return found()
}
func changesCheckRoute(name string) (string, bool) {
	changesCheckRouteCore(name, address())
	return found()
}
func changesCheckUpstream(name string) (string, bool) {
	changesCheckUpstreamCore(name, address())
	return found()
}
func checksCheckHash(name string) (string, bool) {
	checksCheckHashCore(name, address())
	return found()
}
func connectionServerName() (string, bool) {
	connectionServerNameCore(address())
	return found()
}
func connectionAlpn() (string, bool) {
	connectionAlpnCore(address())
	return found()
}
func connectionTlsVersion() (string, bool) {
	connectionTlsVersionCore(address())
	return found()
}
func connectionCertificateSubject() (string, bool) {
	connectionCertificateSubjectCore(address())
	return found()
}
func connectionCertificateFingerprint() (string, bool) {
	connectionCertificateFingerprintCore(address())
	return found()
}
func connectionClientAddress() netip.Addr {
	connectionClientAddressCore(address())
	return foundAddress()
}
func connectionPeerAddress() netip.Addr {
	connectionPeerAddressCore(address())
	return foundAddress()
}
func connectionLocalAddress() netip.Addr {
	connectionLocalAddressCore(address())
	return foundAddress()
}
func requestHeaderAll(name string) []string {
	requestHeaderAllCore(name, address())
	return texts()
}
func responseHeaderAll(name string) []string {
	responseHeaderAllCore(name, address())
	return texts()
}
func requestHeaders() []HeaderField {
	requestHeadersCore(address())
	return fields()
}
func bodiesTrailers() []HeaderField {
	bodiesTrailersCore(address())
	return fields()
}
func fleetAllInFlight() []uint32 {
	fleetAllInFlightCore(address())
	return allNumbers()
}
func fleetAllLatencyUs() []uint32 {
	fleetAllLatencyUsCore(address())
	return allNumbers()
}
func fleetAllHealth() []uint32 {
	fleetAllHealthCore(address())
	return allNumbers()
}
func fleetAllCandidates() []uint64 {
	fleetAllCandidatesCore(address())
	all := append([]uint64(nil), list[uint64](place[0], place[1])...)
	used = 0
	return all
}
func fleetLabel(index uint32, name string) (string, bool) {
	fleetLabelCore(index, name, address())
	return found()
}
func filesRead(path string) (content string, isThere bool, why string) {
	makeRoom(Whole(16<<20, RefuseBeyond)) // what a file may have, and have when it changes
	filesReadCore(path, address())
	isError := place[0]&0xff != 0
	if isError {
		why = at(place[1], place[2])
	} else if isThere = place[1]&0xff != 0; isThere {
		content = at(place[2], place[3])
	}
	used = 0
	return content, isThere, why
}

// sent is a request as the host has it: lists of pointers and lengths are numbers here, of 32 bits.
func sent(request *OutgoingRequest, send func(
	upstream, method, target string, headers unsafe.Pointer, headerCount uint32, body string,
	hasTimeout, timeoutMs, isWanted uint32, wanted unsafe.Pointer, wantedCount, wantedBody uint32,
	answer unsafe.Pointer,
)) {
	method := request.Method
	if method == "" {
		method = "GET"
	}
	var headers, wanted []uint32
	for _, header := range request.Headers {
		headers = append(append(headers, numbersOf(header.Name)...), numbersOf(header.Value)...)
	}
	for _, name := range request.WantedHeaders {
		wanted = append(wanted, numbersOf(name)...)
	}
	makeRoom(Whole(request.WantedBody, RefuseBeyond))
	isSome := func(is bool) uint32 {
		if is {
			return 1
		}
		return 0
	}
	send(
		request.Upstream, method, request.Target,
		unsafe.Pointer(unsafe.SliceData(headers)), uint32(len(request.Headers)),
		bytesAsText(request.Body),
		isSome(request.TimeoutMs > 0), request.TimeoutMs,
		isSome(request.WantedHeaders != nil),
		unsafe.Pointer(unsafe.SliceData(wanted)), uint32(len(request.WantedHeaders)),
		request.WantedBody, address(),
	)
	runtime.KeepAlive(request)
	runtime.KeepAlive(headers)
	runtime.KeepAlive(wanted)
}

func numbersOf(text string) []uint32 {
	return []uint32{uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))), uint32(len(text))}
}

func upstreamRequestsSend(request *OutgoingRequest) (*IncomingResponse, uint32) {
	sent(request, upstreamRequestsSendCore)
	if place[0]&0xff != 0 {
		return nil, place[1]&0xff + 1
	}
	response := &IncomingResponse{Status: int(place[1] & 0xffff), IsWhole: place[6]&0xff != 0}
	for _, one := range list[[2]pair](place[2], place[3]) {
		name, value := at(one[0].at, one[0].length), at(one[1].at, one[1].length)
		response.Headers = append(response.Headers, HeaderField{name, value})
	}
	response.Body = append([]byte{}, list[byte](place[4], place[5])...)
	used = 0
	return response, 0
}
func upstreamRequestsSendAndLeave(request *OutgoingRequest) uint32 {
	sent(request, upstreamRequestsSendAndLeaveCore)
	return flagged()
}

// storeRefused is 0 where the store has done what it was asked for, else one more than the error's
// number, which lies in this word of the answer.
func storeRefused(word int) uint32 {
	if place[0]&0xff == 0 {
		return 0
	}
	return place[word]&0xff + 1
}
func storeGet(key string) (value string, isThere bool, failed uint32) {
	storeGetCore(key, address())
	if failed = storeRefused(1); failed == 0 && place[1]&0xff != 0 {
		value, isThere = at(place[2], place[3]), true
	}
	used = 0
	return value, isThere, failed
}
func storeSet(key, value string, ttlMs uint64) uint32 {
	storeSetCore(key, value, ttlMs, address())
	return flagged()
}

// flagged is as storeRefused, where error and answer are a byte.
func flagged() uint32 {
	if place[0]&0xff == 0 {
		return 0
	}
	return place[0]>>8&0xff + 1
}
func storeAdd(key string, amount int64, ttlMs uint64) (int64, uint32) {
	storeAddCore(key, amount, ttlMs, address())
	return int64(wide()), storeRefused(2)
}

func wide() uint64 { return uint64(place[2]) | uint64(place[3])<<32 }

func storeCompareAndSwap(key string, expected *string, value string, ttlMs uint64) (bool, uint32) {
	isSome, text := uint32(0), ""
	if expected != nil {
		isSome, text = 1, *expected
	}
	storeCompareAndSwapCore(key, isSome, text, value, ttlMs, address())
	return place[0]>>8&0xff != 0, flagged()
}
func storeDelete(key string) (bool, uint32) {
	storeDeleteCore(key, address())
	return place[0]>>8&0xff != 0, flagged()
}
func storeFill(key string, amount, leak, capacity uint64) (uint64, uint32) {
	storeFillCore(key, amount, leak, capacity, address())
	return wide(), storeRefused(2)
}

// Where answers lie that are larger than a number, and what the host hands over in a call: in
// memory that is not the garbage collector's, since the host may not be asked for anything while
// it does, and a collection asks for the time.
var (
	placed [4]uint64
	place  = (*[8]uint32)(unsafe.Pointer(&placed))
	given  = ownRoom[:]
	used   uintptr

	ownRoom [1 << 18]uint64
)

// makeRoom has a body as large as it is wanted fit into what the host hands over: before it comes,
// since no memory can be asked for while it does.
func makeRoom(wanted Manner) {
	needed := (min(int(wanted.atMost), 16<<20) + 1<<16) / 8
	if len(given) < needed {
		given = make([]uint64, needed)
	}
}

//go:wasmexport cabi_realloc
func reallocGiven(old, oldSize, align, size uint32) uint32 {
	start := (used + uintptr(align) - 1) &^ (uintptr(align) - 1)
	if start+uintptr(size) > uintptr(len(given))*8 {
		panic("the host hands over more than there is room for")
	}
	used = start + uintptr(size)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(given))) + start)
}

// For the adapter of WASI, which asks while the runtime starts, and keeps what it gets.
var (
	adapter     [1 << 15]uint64
	adapterUsed uintptr
)

//go:wasmexport cabi_realloc_adapter
func reallocAdapter(old, oldSize, align, size uint32) uint32 {
	start := (adapterUsed + uintptr(align) - 1) &^ (uintptr(align) - 1)
	adapterUsed = start + uintptr(size)
	return uint32(uintptr(unsafe.Pointer(&adapter)) + start)
}

// at is a copy of a text of the host's.
func at(pointer, length uint32) string {
	if length == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(pointer))), length))
}

// text is the answer that lies in place; the host's memory is free again.
func text() string {
	answer := at(place[0], place[1])
	used = 0
	return answer
}

func found() (string, bool) {
	if place[0]&0xff == 0 {
		return "", false
	}
	answer := at(place[1], place[2])
	used = 0
	return answer, true
}

func address() unsafe.Pointer { return unsafe.Pointer(&placed) }

// list is what lies there, until the host hands over something else.
func list[T any](pointer, length uint32) []T {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(pointer))), length)
}

type pair struct{ at, length uint32 }

func texts() (all []string) {
	for _, one := range list[pair](place[0], place[1]) {
		all = append(all, at(one.at, one.length))
	}
	used = 0
	return all
}

func fields() (all []HeaderField) {
	for _, one := range list[[2]pair](place[0], place[1]) {
		name, value := at(one[0].at, one[0].length), at(one[1].at, one[1].length)
		all = append(all, HeaderField{name, value})
	}
	used = 0
	return all
}

var numbers []uint32

func allNumbers() []uint32 {
	numbers = append(numbers[:0], list[uint32](place[0], place[1])...)
	used = 0
	return numbers
}

// foundAddress is an option of an address: a byte for each of both, and the parts behind them, with
// two bytes each.
func foundAddress() netip.Addr {
	bytes := (*[20]byte)(address())
	switch {
	case bytes[0] == 0:
		return netip.Addr{}
	case bytes[2] == 0:
		return netip.AddrFrom4([4]byte(bytes[4:8]))
	}
	var parts [16]byte
	for i := range 8 { // numbers, the lower byte first
		parts[2*i], parts[2*i+1] = bytes[4+2*i+1], bytes[4+2*i]
	}
	return netip.AddrFrom16(parts)
}
