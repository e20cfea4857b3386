// A filter: a request that names a zone in a header goes to servers of that zone, which is a label
// of theirs. Where none of them can be asked, to any.
package main

import waypost "github.com/waypost/waypost/sdk/go"

func init() {
	waypost.Filter("The servers of the zone that a request names", newByZone)
}

func main() { waypost.Main() }

type settings struct {
	Header string `key:"header" default:"x-zone" about:"The header that names the zone"`
}

type byZone struct {
	header string
	zones  []string // of each server, by index
}

func newByZone(settings settings) (*byZone, error) {
	return &byZone{header: settings.Header}, nil
}

func (f *byZone) Update(endpoints []waypost.Endpoint) {
	f.zones = nil
	for _, endpoint := range endpoints {
		zone, _ := waypost.Fleet.Label(endpoint.Index, "zone")
		f.zones = append(f.zones, zone)
	}
}

func (f *byZone) Narrow(choice *waypost.Choice) uint64 {
	zone, is := waypost.Request.Header(f.header)
	if !is {
		return choice.Candidates
	}
	first := 64 * int(choice.Word)
	own := uint64(0)
	for bit := 0; bit < 64 && first+bit < len(f.zones); bit++ {
		if f.zones[first+bit] == zone {
			own |= 1 << bit
		}
	}
	return choice.Candidates & own
}

func (f *byZone) MayBeIgnored() bool { return true }
