// A hook: a request has to name its tenant in a header, or is answered with a 401. The server, the
// log and other hooks learn the tenant.
package main

import waypost "github.com/waypost/waypost/sdk/go"

func init() {
	waypost.Hook("Refuses requests that name no tenant", newNeedsTenant)
}

func main() { waypost.Main() }

type settings struct {
	Header string `key:"header" default:"x-tenant" about:"The header that names the tenant"`
}

type needsTenant struct{ header string }

func newNeedsTenant(settings settings) (*needsTenant, error) {
	return &needsTenant{settings.Header}, nil
}

func (h *needsTenant) OnRequest(*waypost.Call) waypost.Verdict {
	tenant, is := waypost.Request.Header(h.header)
	if !is {
		waypost.Exchange.Note("no tenant")
		waypost.Changes.Answer(401, "say who you are: "+h.header+"\n")
		return waypost.Answer
	}
	waypost.Exchange.Note("tenant " + tenant)
	waypost.Changes.SetRequestHeader("x-authenticated-tenant", tenant)
	waypost.Changes.SetAttribute("tenant", tenant)
	return waypost.Proceed
}
