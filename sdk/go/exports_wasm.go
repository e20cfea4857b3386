//go:build wasip1

package waypost

import "unsafe"

// The exports, all of them: the component has those that the build tells the types of.

var (
	instance any // there is one, and it is configured once
	picker   Picker
	narrower Narrower
	ranker   Ranker
	hook     OnRequester
	count    int
	answer   [8]uint32 // what is answered, where it is larger than a number
	kept     []string  // texts in it
	scores   []uint16  // likewise
)

func Main() {}

// words puts texts behind each other at a place of the answer.
func words(from int, texts ...string) {
	kept = append(kept[:0], texts...)
	for i, text := range kept {
		answer[from+2*i] = uint32(uintptr(unsafe.Pointer(unsafe.StringData(text))))
		answer[from+2*i+1] = uint32(len(text))
	}
}

func answered() uint32 { return uint32(uintptr(unsafe.Pointer(&answer))) }

func refused(err error) uint32 {
	refusal := refusal(err)
	answer[0] = 1
	words(1, refusal.Key, refusal.Message)
	return answered()
}

//go:wasmexport waypost:plugin/plugin@0.2.0#configure
func exportConfigure(kind, pointer, length uint32) uint32 {
	settings := at(pointer, length)
	used = 0
	made, err := kinds[Kind(kind)].configure([]byte(settings))
	if err != nil {
		return refused(err)
	}
	instance = made
	picker, _ = made.(Picker)
	narrower, _ = made.(Narrower)
	ranker, _ = made.(Ranker)
	hook, _ = made.(OnRequester)
	answer[0], answer[1] = 0, 0
	if shared, is := made.(Shared); is {
		sharing := shared.Sharing()
		answer[1] = sharing.kind
		words(2, sharing.key)
	}
	return answered()
}

//go:wasmexport waypost:plugin/description@0.2.0#describe
func exportDescribe(kind uint32) uint32 {
	of := kinds[Kind(kind)]
	words(0, of.summary, of.schema, "")
	answer[6] = 0x0101 // serves backups and streams
	return answered()
}

//go:wasmexport waypost:plugin/members@0.2.0#update
func exportUpdate(generation uint64, pointer, length uint32) {
	type record struct {
		id                      uint64
		address, length, weight uint32
	}
	count = int(length)
	endpoints := make([]Endpoint, 0, length)
	for i, one := range list[record](pointer, length) {
		address := at(one.address, one.length)
		endpoints = append(endpoints, Endpoint{uint32(i), one.id, address, one.weight})
	}
	used = 0
	if updated, is := instance.(Updated); is {
		updated.Update(endpoints)
	}
}

//go:wasmexport waypost:plugin/member-changes@0.2.0#change
func exportChange(generation uint64, pointer, length uint32) {
	type record struct {
		index                          uint32
		id                             uint64
		address, addressLength, weight uint32
	}
	endpoints := make([]Endpoint, 0, length)
	for _, one := range list[record](pointer, length) {
		address := at(one.address, one.addressLength)
		endpoints = append(endpoints, Endpoint{one.index, one.id, address, one.weight})
		count = max(count, int(one.index)+1)
	}
	used = 0
	instance.(Changer).Change(endpoints)
}

// The calls of the data path take the same memory each time.
var (
	pick   Pick
	choice Choice
	call   Call
	body   Body
)

//go:wasmexport waypost:plugin/balancer@0.2.0#pick
func exportPick(lease uint64, attempt uint32, nowUs, random, candidates uint64) uint32 {
	pick = Pick{lease, attempt, nowUs, random, candidates, count, pick.indexes[:0]}
	return picker.Pick(&pick)
}

//go:wasmexport waypost:plugin/filter@0.2.0#narrow
func exportNarrow(word uint32, candidates uint64, attempt uint32, nowUs, random uint64) uint64 {
	choice = Choice{word, candidates, attempt, nowUs, random}
	return narrower.Narrow(&choice)
}

//go:wasmexport waypost:plugin/filter@0.2.0#may-be-ignored
func exportMayBeIgnored() uint32 {
	if narrower.MayBeIgnored() {
		return 1
	}
	return 0
}

//go:wasmexport waypost:plugin/scorer@0.2.0#score
func exportScore(attempt uint32, nowUs, random uint64) uint32 {
	choice = Choice{Attempt: attempt, NowUs: nowUs, Random: random}
	scores = ranker.Score(&choice)
	answer[0] = uint32(uintptr(unsafe.Pointer(unsafe.SliceData(scores))))
	answer[1] = uint32(len(scores))
	return answered()
}

//go:wasmexport waypost:plugin/observer@0.2.0#done
func exportDone(lease uint64, index, ending, status, connectUs, headerUs, totalUs uint32) {
	outcome := Outcome{Ending(ending), status, connectUs, headerUs, totalUs}
	instance.(Observer).Done(lease, index, outcome)
}

//go:wasmexport waypost:plugin/failures@0.2.0#failed
func exportFailed(index uint32) { instance.(FailureObserver).Failed(index) }

//go:wasmexport waypost:plugin/hook@0.2.0#attach
func exportAttach(place, pointer, length uint32) uint32 {
	settings := at(pointer, length)
	used = 0
	if err := attach(instance, place, []byte(settings)); err != nil {
		return refused(err)
	}
	answer[0] = 0
	return answered()
}

//go:wasmexport waypost:plugin/on-request@0.2.0#on-request
func exportOnRequest(exchange uint64, place uint32, nowUs, random uint64) uint32 {
	call = Call{exchange, place, nowUs, random}
	return uint32(hook.OnRequest(&call))
}

//go:wasmexport waypost:plugin/on-check@0.2.0#on-check
func exportOnCheck(exchange uint64, place uint32, nowUs uint64, passed uint32) uint32 {
	call = Call{exchange, place, nowUs, 0}
	return uint32(instance.(OnChecker).OnCheck(&call, passed != 0))
}

// taken is a body that was handed over, in memory that is taken again for the next one.
func taken(pointer, length, last uint32) *Body {
	body = Body{append(body.Bytes[:0], list[byte](pointer, length)...), last != 0}
	used = 0
	return &body
}

//go:wasmexport waypost:plugin/on-request-body@0.2.0#on-request-body
func exportOnRequestBody(
	exchange uint64, place uint32, nowUs uint64, pointer, length, last uint32,
) uint32 {
	call = Call{exchange, place, nowUs, 0}
	return uint32(instance.(OnRequestBodier).OnRequestBody(&call, taken(pointer, length, last)))
}

//go:wasmexport waypost:plugin/on-response-body@0.2.0#on-response-body
func exportOnResponseBody(
	exchange uint64, place uint32, nowUs uint64, pointer, length, last uint32,
) uint32 {
	call = Call{exchange, place, nowUs, 0}
	return uint32(instance.(OnResponseBodier).OnResponseBody(&call, taken(pointer, length, last)))
}

//go:wasmexport waypost:plugin/on-response@0.2.0#on-response
func exportOnResponse(exchange uint64, place uint32, nowUs uint64) {
	call = Call{exchange, place, nowUs, 0}
	instance.(OnResponser).OnResponse(&call)
}

//go:wasmexport waypost:plugin/on-end@0.2.0#on-end
func exportOnEnd(
	exchange uint64, place uint32, nowUs uint64,
	status, complete uint32, durationUs, sent, received uint64,
) {
	call = Call{exchange, place, nowUs, 0}
	instance.(OnEnder).OnEnd(&call, Summary{status, complete != 0, durationUs, sent, received})
}

//go:wasmexport waypost:plugin/keeper@0.2.0#export-state
func exportState() uint32 {
	words(0, string(instance.(Keeper).ExportState()))
	return answered()
}

//go:wasmexport waypost:plugin/keeper@0.2.0#import-state
func importState(pointer, length uint32) uint32 {
	state := at(pointer, length)
	used = 0
	answer[0] = 0
	if err := instance.(Keeper).ImportState([]byte(state)); err != nil {
		answer[0] = 1
		words(1, err.Error())
	}
	return answered()
}

//go:wasmexport waypost:plugin/ticker@0.2.0#tick
func exportTick(nowUs uint64) uint32 { return instance.(Ticker).Tick(nowUs) }

//go:wasmexport waypost:plugin/file-changes@0.2.0#changed
func exportChanged(path, pathLength, isThere, pointer, length uint32) {
	name := at(path, pathLength)
	var content []byte
	if isThere != 0 {
		content = append([]byte{}, list[byte](pointer, length)...)
	}
	used = 0
	instance.(FileWatcher).Changed(name, content)
}
