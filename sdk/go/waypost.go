// Package waypost is what a plugin in Go is written with.
//
// A program registers what it has in init, and calls Main in main:
//
//	func init() {
//		waypost.Policy("By the hash of a header", newByTenant)
//	}
//
//	func main() { waypost.Main() }
//
// Run natively, Main builds the component: `go run . -o plugin.wasm`. The host's interfaces are
// the variables Fleet, Request, Changes and so on, each with methods as `wit/` describes them. In
// tests, which run natively, they are those of a double: see NewUpstream and NewHooked.
package waypost

import (
	"encoding/json"
	"errors"
	"math/bits"
)

// Answers of Pick.
const (
	NoOpinion uint32 = 0xffff_ffff
	Refuse    uint32 = 0xffff_fffe
)

// Kind of a plugin.
type Kind uint32

const (
	KindPolicy Kind = iota
	KindFilter
	KindScorer
	KindHook
)

// Verdict of a hook.
type Verdict uint32

const (
	Proceed Verdict = iota
	Answer
	Reroute
	Wait
)

// Sharing says how many instances there are.
type Sharing struct {
	kind uint32
	key  string
}

var (
	PerWorker  = Sharing{}
	PerProcess = Sharing{kind: 1}
)

// PerKey has one instance for each value of a text with variables, as "$binary_remote_addr".
func PerKey(key string) Sharing { return Sharing{2, key} }

// Endpoint is one address that requests may be sent to.
type Endpoint struct {
	Index   uint32
	ID      uint64
	Address string
	Weight  uint32
}

// Pick is the attempt for which an endpoint is wanted.
type Pick struct {
	Lease   uint64
	Attempt uint32
	NowUs   uint64
	Random  uint64
	// Candidates of the first 64 endpoints; see Indexes for all of them.
	Candidates uint64
	count      int
	indexes    []uint32
}

// Indexes of the endpoints that may be picked, in order, one at least.
func (p *Pick) Indexes() []uint32 {
	if len(p.indexes) > 0 {
		return p.indexes
	}
	for word := 0; word*64 < max(p.count, 1); word++ {
		set := p.Candidates
		if word > 0 {
			set = Fleet.Candidates(uint32(word))
		}
		for ; set != 0; set &= set - 1 {
			p.indexes = append(p.indexes, uint32(64*word+bits.TrailingZeros64(set)))
		}
	}
	return p.indexes
}

// Choice is the attempt that a filter or a scorer prepares: for a filter with the candidates of one
// word, endpoint 64*Word in the lowest bit.
type Choice struct {
	Word       uint32
	Candidates uint64
	Attempt    uint32
	NowUs      uint64
	Random     uint64
}

// Call is a call about an exchange.
type Call struct {
	Exchange uint64
	Place    uint32
	NowUs    uint64
	Random   uint64
}

// Body is a body, where it was wanted as a whole, or a piece of it.
type Body struct {
	// Bytes are there until the end of the call.
	Bytes []byte
	// Last says that nothing follows.
	Last bool
}

// Manner is how a body is wanted: Whole, Chunks or Watch.
type Manner struct{ kind, atMost, beyond uint32 }

var (
	// Chunks come piece by piece, and each may be replaced.
	Chunks = Manner{kind: 1}
	// Watch is piece by piece as well, and none is replaced.
	Watch = Manner{kind: 2}
)

// Beyond is what becomes of a body that is larger than wanted.
type Beyond uint32

const (
	RefuseBeyond Beyond = iota
	PassBeyond
)

// Whole wants a body in one call, of so many bytes at most.
func Whole(atMost uint32, beyond Beyond) Manner { return Manner{0, atMost, uint32(beyond)} }

// Form is what the body of an answer is seen as.
type Form uint32

const (
	AsSent Form = iota
	Decoded
)

// HeaderField is a header or a trailer: names are as received.
type HeaderField struct{ Name, Value string }

// OutgoingRequest is a request to an upstream that the settings name.
type OutgoingRequest struct {
	Upstream string
	Method   string // GET where it is empty
	Target   string // path and query
	Headers  []HeaderField
	Body     []byte
	// TimeoutMs is 0 for what the upstream's configuration says.
	TimeoutMs uint32
	// WantedHeaders of the response, nil for all of them, and how many bytes of its body.
	WantedHeaders []string
	WantedBody    uint32
}

// IncomingResponse is what the upstream answered.
type IncomingResponse struct {
	Status  int
	Headers []HeaderField
	Body    []byte
	// IsWhole says that there is no more of the body.
	IsWhole bool
}

// RequestError is why there is no response.
type RequestError uint32

func (e RequestError) Error() string {
	return [...]string{
		"nothing may be asked here", "the settings do not name the upstream",
		"there is no such upstream", "the upstream has no live endpoint", "too many requests at once",
		"it cannot be expressed in HTTP", "its body is too large", "connection refused",
		"connecting timed out", "the upstream timed out", "TLS failed", "the connection broke off",
		"the answer is no valid HTTP",
	}[e]
}

// FailureKind is why an attempt failed.
type FailureKind uint32

const (
	FailureNone FailureKind = iota
	FailureConnect
	FailureTLS
	FailureConnectTimeout
	FailureTimeout
	FailureReset
	FailureProtocol
	FailureStatus
	FailureOther
)

// Level of a line in the log.
type Level uint32

const (
	LevelError Level = iota
	LevelWarn
	LevelInfo
	LevelDebug
)

// StoreError is why the store did nothing.
type StoreError uint32

const (
	StoreFull StoreError = iota
	StoreUnavailable
	StoreTooLarge
	StoreWrongKind
)

func (e StoreError) Error() string {
	return "the store: " + [...]string{"full", "unavailable", "too large", "wrong kind"}[e]
}

// Outcome is how an attempt ended.
type Outcome struct {
	Ending                       Ending
	Status                       uint32
	ConnectUs, HeaderUs, TotalUs uint32
}

// Ending of an attempt.
type Ending uint32

const (
	Completed Ending = iota
	Failed
	PassedOver
	Unused
	Abandoned
)

// Summary of an exchange that has ended.
type Summary struct {
	Status                               uint32
	Complete                             bool
	DurationUs, BytesSent, BytesReceived uint64
}

// What a value may be besides a policy or a hook: by the methods that it has, they are exported.
type (
	// Picker is a policy.
	Picker interface{ Pick(*Pick) uint32 }
	// Narrower is a filter: it answers which of the candidates stay.
	Narrower interface {
		Narrow(*Choice) uint64
		// MayBeIgnored is asked when none was left: whether all of them may be chosen after all.
		MayBeIgnored() bool
	}
	// Ranker is a scorer: how good each endpoint is, in order, 65,535 for the best.
	Ranker interface{ Score(*Choice) []uint16 }
	// Updated hears of its endpoints.
	Updated interface{ Update([]Endpoint) }
	// Changer is a policy that takes other endpoints in place: each has the index that it keeps.
	Changer interface{ Change([]Endpoint) }
	// Observer hears how attempts ended.
	Observer interface {
		Done(lease uint64, index uint32, outcome Outcome)
	}
	// FailureObserver hears of failed attempts only.
	FailureObserver interface{ Failed(index uint32) }
	// Shared says how many instances there are: one per worker otherwise.
	Shared interface{ Sharing() Sharing }
	// Attacher takes what a place that uses a hook says for itself: see ReadSettings.
	Attacher interface {
		Attach(place uint32, settings []byte) error
	}
	// OnRequester decides about requests.
	OnRequester interface{ OnRequest(*Call) Verdict }
	// OnChecker goes on once the check is done that Checks was asked for.
	OnChecker interface {
		OnCheck(call *Call, passed bool) Verdict
	}
	// OnRequestBodier sees bodies of requests that Bodies.WantRequest has asked for.
	OnRequestBodier interface{ OnRequestBody(*Call, *Body) Verdict }
	// OnResponseBodier sees bodies of answers that Bodies.WantResponse has asked for.
	OnResponseBodier interface{ OnResponseBody(*Call, *Body) Verdict }
	// OnResponser sees answers.
	OnResponser interface{ OnResponse(*Call) }
	// OnEnder hears of the end of exchanges.
	OnEnder interface{ OnEnd(*Call, Summary) }
	// Keeper hands on what it knows.
	Keeper interface {
		ExportState() []byte
		ImportState([]byte) error
	}
	// Ticker is called from time to time.
	Ticker interface{ Tick(nowUs uint64) uint32 }
	// FileWatcher hears that a file has changed which Files.Read has read; nil where it is gone.
	FileWatcher interface {
		Changed(path string, content []byte)
	}
)

// A registered kind: how an instance is made, and what is said of it.
type registered struct {
	summary, schema string
	configure       func(settings []byte) (any, error)
	sample          any // a nil of the type, to see what methods it has
}

var kinds = map[Kind]*registered{}

// Policy registers a policy: the type of its settings, a struct, is what the function takes.
func Policy[S any, P Picker](summary string, configure func(S) (P, error)) {
	register(KindPolicy, summary, configure)
}

// Filter registers a filter.
func Filter[S any, F Narrower](summary string, configure func(S) (F, error)) {
	register(KindFilter, summary, configure)
}

// Scorer registers a scorer.
func Scorer[S any, R Ranker](summary string, configure func(S) (R, error)) {
	register(KindScorer, summary, configure)
}

// Hook registers a hook, which has one phase at least.
func Hook[S, H any](summary string, configure func(S) (H, error)) {
	register(KindHook, summary, configure)
}

func register[S, P any](kind Kind, summary string, configure func(S) (P, error)) {
	var settings S
	var sample P
	kinds[kind] = &registered{
		summary: summary,
		schema:  schemaOf(settings),
		sample:  sample,
		configure: func(text []byte) (any, error) {
			var settings S
			if err := ReadSettings(text, &settings); err != nil {
				return nil, err
			}
			made, err := configure(settings)
			return made, err
		},
	}
}

// attach refuses settings of a place where a hook takes none.
func attach(instance any, place uint32, settings []byte) error {
	if attacher, is := instance.(Attacher); is {
		return attacher.Attach(place, settings)
	}
	var none struct{}
	return ReadSettings(settings, &none)
}

// SettingsError says why settings are refused: the key at fault, and what would be right, in lower
// case.
type SettingsError struct{ Key, Message string }

func (e *SettingsError) Error() string { return e.Message }

// refusal makes a SettingsError of any error.
func refusal(err error) *SettingsError {
	var refused *SettingsError
	if errors.As(err, &refused) {
		return refused
	}
	return &SettingsError{Message: err.Error()}
}

func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}
