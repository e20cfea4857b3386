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

//go:wasmimport waypost:plugin/upstream@0.2.0 has-backups
func upstreamHasBackups() bool

//go:wasmimport waypost:plugin/upstream@0.2.0 carries-streams
func upstreamCarriesStreams() bool

//go:wasmimport waypost:plugin/nginx@0.2.0 max-fails
func nginxMaxFails(index uint32) uint32

//go:wasmimport waypost:plugin/nginx@0.2.0 fail-timeout
func nginxFailTimeout(index uint32) uint64

//go:wasmimport waypost:plugin/clock@0.2.0 wall-ms
func clockWallMs() uint64

//go:wasmimport waypost:plugin/metrics@0.2.0 counter
func metricsCounter(name string) uint32

//go:wasmimport waypost:plugin/metrics@0.2.0 add
func metricsAdd(counter uint32, value uint64)

//go:wasmimport waypost:plugin/log@0.2.0 write
func logWrite(level uint32, line string)

//go:wasmimport waypost:plugin/log@0.2.0 write-exchange
func logWriteExchange(level uint32, line string)

//go:wasmimport waypost:plugin/request@0.2.0 version
func requestVersion() uint32

//go:wasmimport waypost:plugin/request@0.2.0 hash
func requestHash(part uint32, name string, seed uint64) uint64

//go:wasmimport waypost:plugin/connection@0.2.0 peer-port
func connectionPeerPort() uint32

//go:wasmimport waypost:plugin/connection@0.2.0 local-port
func connectionLocalPort() uint32

//go:wasmimport waypost:plugin/response@0.2.0 status
func responseStatus() uint32

//go:wasmimport waypost:plugin/response@0.2.0 is-local
func responseIsLocal() bool

//go:wasmimport waypost:plugin/exchange@0.2.0 note
func exchangeNote(text string)

//go:wasmimport waypost:plugin/exchange@0.2.0 is-note-wanted
func exchangeIsNoteWanted() bool

//go:wasmimport waypost:plugin/attempt@0.2.0 memo
func attemptMemo() uint64

//go:wasmimport waypost:plugin/attempt@0.2.0 set-memo
func attemptSetMemo(value uint64)

//go:wasmimport waypost:plugin/attempt@0.2.0 add-response-header
func attemptAddResponseHeader(name, value string)

//go:wasmimport waypost:plugin/attempt@0.2.0 set-refusal-status
func attemptSetRefusalStatus(status uint32)

//go:wasmimport waypost:plugin/attempt@0.2.0 failure
func attemptFailure() uint32

//go:wasmimport waypost:plugin/attempt@0.2.0 bytes-sent
func attemptBytesSent() uint64

//go:wasmimport waypost:plugin/attempt@0.2.0 bytes-received
func attemptBytesReceived() uint64

//go:wasmimport waypost:plugin/changes@0.2.0 set-method
func changesSetMethod(text string) bool

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

//go:wasmimport waypost:plugin/changes@0.2.0 add-request-header
func changesAddRequestHeader(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-response-header
func changesSetResponseHeader(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 add-response-header
func changesAddResponseHeader(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 set-attribute
func changesSetAttribute(name, value string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 answer
func changesAnswer(status uint32, body string) bool

//go:wasmimport waypost:plugin/changes@0.2.0 delay
func changesDelay(us uint64) bool

//go:wasmimport waypost:plugin/bodies@0.2.0 want-request-body
func bodiesWantRequestBody(manner, atMost, beyond uint32) bool

//go:wasmimport waypost:plugin/bodies@0.2.0 want-response-body
func bodiesWantResponseBody(manner, atMost, beyond, form uint32) bool

//go:wasmimport waypost:plugin/bodies@0.2.0 set-body
func bodiesSetBody(body string) bool

//go:wasmimport waypost:plugin/checks@0.2.0 verify-password
func checksVerifyPassword(hash, password string)

//go:wasmimport waypost:plugin/files@0.2.0 is-there
func filesIsThere(path string) bool

//go:wasmimport waypost:plugin/store@0.2.0 is-elsewhere
func storeIsElsewhere() bool

//go:wasmimport waypost:plugin/request@0.2.0 method
func requestMethodCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 scheme
func requestSchemeCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 authority
func requestAuthorityCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 path
func requestPathCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 query
func requestQueryCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 decoded-path
func requestDecodedPathCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/exchange@0.2.0 key
func exchangeKeyCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/upstream@0.2.0 name
func upstreamNameCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 name
func fleetNameCore(index uint32, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/nginx@0.2.0 route
func nginxRouteCore(index uint32, answer unsafe.Pointer)

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

//go:wasmimport waypost:plugin/nginx@0.2.0 check-variable
func nginxCheckVariableCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/nginx@0.2.0 check-early-variable
func nginxCheckEarlyVariableCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/changes@0.2.0 check-route
func changesCheckRouteCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/changes@0.2.0 check-upstream
func changesCheckUpstreamCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/checks@0.2.0 check-hash
func checksCheckHashCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 server-name
func connectionServerNameCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 alpn
func connectionAlpnCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 tls-version
func connectionTlsVersionCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 certificate-subject
func connectionCertificateSubjectCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 certificate-fingerprint
func connectionCertificateFingerprintCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 client-address
func connectionClientAddressCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 peer-address
func connectionPeerAddressCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/connection@0.2.0 local-address
func connectionLocalAddressCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 header-all
func requestHeaderAllCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/response@0.2.0 header-all
func responseHeaderAllCore(name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/request@0.2.0 headers
func requestHeadersCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/bodies@0.2.0 trailers
func bodiesTrailersCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 all-in-flight
func fleetAllInFlightCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 all-latency-us
func fleetAllLatencyUsCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 all-health
func fleetAllHealthCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 all-candidates
func fleetAllCandidatesCore(answer unsafe.Pointer)

//go:wasmimport waypost:plugin/fleet@0.2.0 label
func fleetLabelCore(index uint32, name string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/files@0.2.0 read
func filesReadCore(path string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 get
func storeGetCore(key string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 set
func storeSetCore(key, value string, ttlMs uint64, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 add
func storeAddCore(key string, amount int64, ttlMs uint64, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 compare-and-swap
func storeCompareAndSwapCore(key string, isSome uint32, expected, value string, ttlMs uint64, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 delete
func storeDeleteCore(key string, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/store@0.2.0 fill
func storeFillCore(key string, amount, leak, capacity uint64, answer unsafe.Pointer)

//go:wasmimport waypost:plugin/upstream-requests@0.2.0 send
func upstreamRequestsSendCore(
	upstream, method, target string, headers unsafe.Pointer, headerCount uint32, body string,
	hasTimeout, timeoutMs, isWanted uint32, wanted unsafe.Pointer, wantedCount, wantedBody uint32,
	answer unsafe.Pointer,
)

//go:wasmimport waypost:plugin/upstream-requests@0.2.0 send-and-leave
func upstreamRequestsSendAndLeaveCore(
	upstream, method, target string, headers unsafe.Pointer, headerCount uint32, body string,
	hasTimeout, timeoutMs, isWanted uint32, wanted unsafe.Pointer, wantedCount, wantedBody uint32,
	answer unsafe.Pointer,
)
