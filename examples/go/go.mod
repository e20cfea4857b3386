module tenants

go 1.24

require github.com/waypost/waypost/sdk/go v0.0.0

replace github.com/waypost/waypost/sdk/go => ../../sdk/go
