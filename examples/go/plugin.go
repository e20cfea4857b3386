// Two plugins in one component: a policy that keeps each tenant on a server of its own, and a hook
// that counts the requests of tenants, and masks a word in bodies.
package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	waypost "github.com/waypost/waypost/sdk/go"
)

func init() {
	waypost.Policy("By the hash of a header, else the least loaded server", newByTenant)
	waypost.Hook("Counts requests by tenant", newCountTenants)
}

func main() { waypost.Main() }

type tenantSettings struct {
	Header string `key:"header" default:"x-tenant" about:"The header that names the tenant"`
}

// One server for each tenant, by a hash of its name; the least loaded one for everybody else.
type byTenant struct{ header string }

func newByTenant(settings tenantSettings) (*byTenant, error) {
	if settings.Header == "" {
		return nil, &waypost.SettingsError{Key: "header", Message: "`header` must not be empty"}
	}
	return &byTenant{settings.Header}, nil
}

func (p *byTenant) Pick(pick *waypost.Pick) uint32 {
	candidates := pick.Indexes()
	if tenant, _ := waypost.Request.Header(p.header); tenant != "" {
		hash := waypost.Request.HashHeader(p.header, 0)
		return candidates[hash%uint64(len(candidates))]
	}
	loads := waypost.Fleet.AllInFlight()
	best := candidates[0]
	for _, index := range candidates {
		if loads[index] < loads[best] {
			best = index
		}
	}
	return best
}

type countSettings struct {
	Header  string   `key:"header" default:"x-tenant" about:"The header that names the tenant"`
	Tenants []string `key:"tenants" required:"true" about:"Those that are counted"`
	Mask    string   `key:"mask" about:"What no body may tell, either way"`
}

// Counts the requests of some tenants, stamps what it has counted, and masks a word in bodies.
type countTenants struct {
	header string
	mask   []byte
	counts map[string]*counted
}

type counted struct {
	counter uint32
	count   int
}

var counterName = regexp.MustCompile("^[a-z0-9_]+$")

func newCountTenants(settings countSettings) (*countTenants, error) {
	hook := &countTenants{settings.Header, []byte(settings.Mask), map[string]*counted{}}
	for _, name := range append(settings.Tenants, "other") {
		if !counterName.MatchString(name) {
			message := fmt.Sprintf("`%s` is no name of a counter", name)
			return nil, &waypost.SettingsError{Key: "tenants", Message: message}
		}
		hook.counts[name] = &counted{counter: waypost.Metrics.Counter("requests_" + name)}
	}
	return hook, nil
}

// One instance, so that the numbers are those of all workers.
func (*countTenants) Sharing() waypost.Sharing { return waypost.PerProcess }

func (h *countTenants) OnRequest(*waypost.Call) waypost.Verdict {
	name, _ := waypost.Request.Header(h.header)
	if h.counts[name] == nil {
		name = "other"
	}
	counted := h.counts[name]
	counted.count++
	waypost.Metrics.Add(counted.counter, 1)
	waypost.Changes.SetRequestHeader("x-counted-as", name)
	waypost.Changes.SetResponseHeader("x-counted", strconv.Itoa(counted.count))
	// Whoever does not ask for a body pays nothing for it.
	if len(h.mask) > 0 {
		waypost.Bodies.WantRequestBody(waypost.Whole(65536, waypost.PassBeyond))
	}
	return waypost.Proceed
}

func (h *countTenants) OnResponse(*waypost.Call) {
	if len(h.mask) > 0 {
		waypost.Bodies.WantResponseBody(waypost.Whole(65536, waypost.PassBeyond), waypost.Decoded)
	}
}

func (h *countTenants) OnRequestBody(_ *waypost.Call, body *waypost.Body) waypost.Verdict {
	waypost.Bodies.SetBody(bytes.ReplaceAll(body.Bytes, h.mask, []byte("***")))
	return waypost.Proceed
}

func (h *countTenants) OnResponseBody(call *waypost.Call, body *waypost.Body) waypost.Verdict {
	return h.OnRequestBody(call, body)
}
