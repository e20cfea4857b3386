//go:build wasip1

package waypost

import "unsafe"

// The imports, as the component model passes them: texts as pointer and length, what is larger
// than a number at a place that the caller names. One more is one line here, and one in `host.go`.

//go:wasmimport waypost:plugin/fleet@0.2.0 is-down
func fleetIsDown(index uint32) bool

//go:wasmimport waypost:plugin/fleet@0.2.0 candidates
func fleetCandidates(index uint32) uint64

//go:wasmimport waypost:plugin/fleet@0.2.0 in-flight
func fleetInFlight(index uint32) uint32

//go:wasmimport waypost:plugin/fleet@0.2.0 latency-us
func fleetLatencyUs(index uint32) uint32

//go:wasmimport waypost:plugin/fleet@0.2.0 health
func fleetHealth(index uint32) uint32

//go:wasmimport waypost:plugin/clock@0.2.0 wall-ms
func clockWallMs() uint64

//go:wasmimport waypost:plugin/metrics@0.2.0 counter
func metricsCounter(name string) uint32

//go:wasmimport waypost:plugin/metrics@0.2.0 add
func metricsAdd(counter uint32, value uint64)

//go:wasmimport waypost:plugin/log@0.2.0 write
func logWrite(level uint32, line string)

//go:wasmimport waypost:plugin/request@0.2.0 hash
func requestHash(part uint32, name string, seed uint64) uint64

//go:wasmimport waypost:plugin/response@0.2.0 status
func responseStatus() uint32

//go:wasmimport waypost:plugin/exchange@0.2.0 note
func exchangeNote(text string)

//go:wasmimport waypost:plugin/attempt@0.2.0 memo
func attemptMemo() uint64

//go:wasmimport waypost:plugin/attempt@0.2.0 set-memo
func attemptSetMemo(value uint64)

//go:wasmimport waypost:plugin/attempt@0.2.0 add-response-header
func attemptAddResponseHeader(name, value string)

//go:wasmimport waypost:plugin/changes@0.2.0 set-path
func changesSetPath(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-query
func changesSetQuery(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 remove-request-header
func changesRemoveRequestHeader(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 remove-response-header
func changesRemoveResponseHeader(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 take-route
func changesTakeRoute(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 take-upstream
func changesTakeUpstream(text string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-request-header
func changesSetRequestHeader(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-response-header
func changesSetResponseHeader(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-attribute
func changesSetAttribute(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 answer
func changesAnswer(status uint32, body string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 delay
func changesDelay(us uint64) bool

//go:wasmimport waypost:plugin/request@0.2.0 method
func requestMethodCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 authority
func requestAuthorityCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 path
func requestPathCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 query
func requestQueryCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 header
func requestHeaderCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 cookie
func requestCookieCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/response@0.2.0 header
func responseHeaderCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/exchange@0.2.0 attribute
func exchangeAttributeCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/variables@0.2.0 variable
func variablesVariableCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 all-in-flight
func fleetAllInFlightCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 name
func fleetNameCore(index uint32, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 label
func fleetLabelCore(index uint32, name string, answer unsafe.Pointer)

func requestMethod() string    { requestMethodCore(address()); return text() }
func requestAuthority() string { requestAuthorityCore(address()); return text() }
func requestPath() string      { requestPathCore(address()); return text() }
func requestQuery() string     { requestQueryCore(address()); return text() }
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

var numbers []uint32

func fleetAllInFlight() []uint32 {
	fleetAllInFlightCore(address())
	numbers = numbers[:0]
	if place[1] > 0 {
		numbers = append(numbers, unsafe.Slice((*uint32)(unsafe.Pointer(uintptr(place[0]))), place[1])...)
	}
	used = 0
	return numbers
}
func fleetName(index uint32) string { fleetNameCore(index, address()); return text() }
func fleetLabel(index uint32, name string) (string, bool) {
	fleetLabelCore(index, name, address())
	return found()
}

// Where answers lie that are larger than a number, and what the host hands over in a call: in
// memory that is not the garbage collector's, since the host may not be asked for anything while
// it does, and a collection asks for the time.
var (
	place [4]uint32
	given [1 << 18]uint64
	used  uintptr
)

//go:wasmexport cabi_realloc
func reallocGiven(old, oldSize, align, size uint32) uint32 {
	start := (used + uintptr(align) - 1) &^ (uintptr(align) - 1)
	if start+uintptr(size) > unsafe.Sizeof(given) {
		panic("the host hands over more than 2 MiB")
	}
	used = start + uintptr(size)
	return uint32(uintptr(unsafe.Pointer(&given)) + start)
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

func address() unsafe.Pointer { return unsafe.Pointer(&place) }
