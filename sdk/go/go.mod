module github.com/waypost/waypost/sdk/go

go 1.24
