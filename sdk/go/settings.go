package waypost

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// Settings are a struct, whose fields say in tags what they are called, what is meant where they
// are left out, and what they are for:
//
//	type settings struct {
//		Header  string   `key:"header" default:"x-tenant" about:"The header that names the tenant"`
//		Tenants []string `key:"tenants" required:"true"`
//	}
//
// `default` is JSON, or a text as it is. Anything else in the configuration is refused by its key.

// ReadSettings reads JSON into a struct with such tags, to which the second argument points.
func ReadSettings(text []byte, into any) error {
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &given); err != nil {
		return &SettingsError{Message: "the settings must be a table"}
	}
	value := reflect.ValueOf(into).Elem()
	var known []string
	for i := range value.NumField() {
		field := value.Type().Field(i)
		key := field.Tag.Get("key")
		known = append(known, key)
		raw, is := given[key]
		delete(given, key)
		if !is {
			if field.Tag.Get("required") != "" {
				return &SettingsError{key, fmt.Sprintf("`%s` is missing", key)}
			}
			raw = defaultOf(field)
		}
		if raw == nil {
			continue
		}
		if err := json.Unmarshal(raw, value.Field(i).Addr().Interface()); err != nil {
			return &SettingsError{key, fmt.Sprintf("`%s` must be %s", key, described(field.Type))}
		}
	}
	unknown := make([]string, 0, len(given))
	for key := range given {
		unknown = append(unknown, key)
	}
	sort.Strings(unknown)
	for _, key := range unknown {
		return &SettingsError{key, fmt.Sprintf("unknown key `%s`; %s", key, hint(known, key))}
	}
	return nil
}

func defaultOf(field reflect.StructField) json.RawMessage {
	text, is := field.Tag.Lookup("default")
	switch {
	case !is:
		return nil
	case field.Type.Kind() == reflect.String:
		return json.RawMessage(compact(text))
	default:
		return json.RawMessage(text)
	}
}

func described(of reflect.Type) string {
	switch of.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a table"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	default:
		return "a whole number"
	}
}

func schemaOf(settings any) string {
	properties, required := map[string]any{}, []string{}
	of := reflect.TypeOf(settings)
	for i := range of.NumField() {
		field := of.Field(i)
		property := typeSchema(field.Type)
		if text := field.Tag.Get("about"); text != "" {
			property["description"] = text
		}
		if raw := defaultOf(field); raw != nil {
			property["default"] = raw
		}
		if field.Tag.Get("required") != "" {
			required = append(required, field.Tag.Get("key"))
		}
		properties[field.Tag.Get("key")] = property
	}
	return compact(map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	})
}

func typeSchema(of reflect.Type) map[string]any {
	switch of.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(of.Elem())}
	case reflect.Map, reflect.Struct:
		return map[string]any{"type": "object"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	default:
		return map[string]any{"type": "integer"}
	}
}

func hint(known []string, key string) string {
	for _, other := range known {
		if edits(other, key) <= max(1, len(key)/3) {
			return fmt.Sprintf("did you mean `%s`?", other)
		}
	}
	if len(known) == 0 {
		return "it takes none"
	}
	return "known keys: `" + strings.Join(known, "`, `") + "`"
}

// Letters to add, drop, change, or swap with the next one, from one word to the other.
func edits(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range b {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
