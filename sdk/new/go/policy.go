// A policy: one server for each tenant, by a hash of the header that names it; the least busy one
// for everybody else.
package main

import waypost "github.com/waypost/waypost/sdk/go"

func init() {
	waypost.Policy("One server for each tenant, else the least busy one", newByTenant)
}

func main() { waypost.Main() }

type settings struct {
	Header string `key:"header" default:"x-tenant" about:"The header that names the tenant"`
}

type byTenant struct{ header string }

func newByTenant(settings settings) (*byTenant, error) {
	return &byTenant{settings.Header}, nil
}

func (p *byTenant) Pick(pick *waypost.Pick) uint32 {
	candidates := pick.Indexes()
	if tenant, _ := waypost.Request.Header(p.header); tenant != "" {
		waypost.Exchange.Note("tenant " + tenant)
		hash := waypost.Request.HashHeader(p.header, 0)
		return candidates[hash%uint64(len(candidates))]
	}
	waypost.Exchange.Note("no tenant")
	loads := waypost.Fleet.AllInFlight()
	best := candidates[0]
	for _, index := range candidates {
		if loads[index] < loads[best] {
			best = index
		}
	}
	return best
}
