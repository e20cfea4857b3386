// A scorer: the fewer requests a server has in progress, the better; one with `most` of them or
// more is as bad as any.
package main

import waypost "github.com/waypost/waypost/sdk/go"

func init() {
	waypost.Scorer("The servers with the fewest requests in progress", newByLoad)
}

func main() { waypost.Main() }

const best = 65535

type settings struct {
	Most uint32 `key:"most" default:"10" about:"Requests from which on a server has no points"`
}

type byLoad struct {
	most   uint32
	scores []uint16 // the same memory each time
}

func newByLoad(settings settings) (*byLoad, error) {
	if settings.Most == 0 {
		return nil, &waypost.SettingsError{Key: "most", Message: "`most` must be 1 or more"}
	}
	return &byLoad{most: settings.Most}, nil
}

func (s *byLoad) Score(*waypost.Choice) []uint16 {
	s.scores = s.scores[:0]
	for _, load := range waypost.Fleet.AllInFlight() {
		left := uint64(s.most - min(load, s.most))
		s.scores = append(s.scores, uint16(best*left/uint64(s.most)))
	}
	return s.scores
}
