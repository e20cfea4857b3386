//go:build !wasip1

package waypost

import (
	"embed"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// Written by `sdk/component_types.py`.
//
//go:embed component_types
var componentTypes embed.FS

// Main builds the component of this program, in whose folder it runs: `go run . -o plugin.wasm`.
//
// The compiler makes a core module. What it imports and exports is told by custom sections behind
// it, of which Waypost makes the component when it loads it.
func Main() {
	output := flag.String("o", "plugin.wasm", "the file to write")
	flag.Parse()
	if err := build(*output); err != nil {
		fmt.Fprintln(os.Stderr, "waypost:", err)
		os.Exit(1)
	}
}

func build(output string) error {
	if len(kinds) == 0 {
		return fmt.Errorf("nothing is registered: call `waypost.Policy`, `Filter`, `Scorer` or `Hook` in `init`")
	}
	command := exec.Command(
		"go", "build", "-buildmode=c-shared", "-ldflags=-s", "-trimpath", "-o", output, ".")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	module, err := os.OpenFile(output, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, name := range interfaces() {
		types, err := componentTypes.ReadFile("component_types/" + name + ".bin")
		if err != nil {
			return err
		}
		if _, err := module.Write(section("component-type:waypost:"+name, types)); err != nil {
			return err
		}
	}
	return module.Close()
}

// interfaces are those that the registered types export, by their methods.
func interfaces() []string {
	names := []string{"imports", "plugin", "description"}
	add := func(is bool, name ...string) {
		if is {
			names = append(names, name...)
		}
	}
	for kind, of := range kinds {
		add(kind == KindPolicy, "members", "balancer")
		add(kind == KindFilter, "members", "filter")
		add(kind == KindScorer, "members", "scorer")
		add(kind == KindHook, "hook")
		add(has[Changer](of), "member-changes")
		add(has[Observer](of), "observer")
		add(has[FailureObserver](of), "failures")
		add(has[OnRequester](of), "on-request")
		add(has[OnChecker](of), "on-check")
		add(has[OnResponser](of), "on-response")
		add(has[OnRequestBodier](of), "on-request-body")
		add(has[OnResponseBodier](of), "on-response-body")
		add(has[OnEnder](of), "on-end")
		add(has[Keeper](of), "keeper")
		add(has[Ticker](of), "ticker")
		add(has[FileWatcher](of), "file-changes")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func has[T any](of *registered) bool {
	_, is := of.sample.(T)
	return is
}

// section is a custom section of a module.
func section(name string, content []byte) []byte {
	body := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	body = append(body, content...)
	return append(binary.AppendUvarint([]byte{0}, uint64(len(body))), body...)
}
