"""Settings, read by the schema that a plugin declares: its defaults filled in, and anything that it
does not allow refused by its key.

The schema is a dictionary of keys, each in the words of JSON Schema: `type` (`string`, `integer`,
`number`, `boolean`, `array` with `items`, `object` with `properties`), `enum`, `minimum`,
`maximum`, `minLength`, `default`, `description`; and `"required": True` for a key that must be
there.
"""

import difflib
import json
from types import SimpleNamespace


class SettingsError(Exception):
    """Why settings are refused: the key at fault, and what would be right, in lower case."""

    def __init__(self, key, message):
        super().__init__(message)
        self.key = key
        self.message = message


TYPES = {
    "string": ("a text", lambda v: isinstance(v, str)),
    "integer": ("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "number": ("a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)),
    "boolean": ("`true` or `false`", lambda v: isinstance(v, bool)),
    "array": ("a list", lambda v: isinstance(v, list)),
    "object": ("a table", lambda v: isinstance(v, dict)),
}


def read(schema, text):
    """The settings in a JSON text, by a schema: `settings.key`."""
    return _table(schema or {}, json.loads(text), "")


def make(plugin, text):
    """An instance of a plugin's class with these settings, where it takes any."""
    settings = read(getattr(plugin, "settings", None), text)
    return plugin() if plugin.__init__ is object.__init__ else plugin(settings)


def describe(schema):
    """The JSON schema of a table, as `description.settings` has it."""
    return json.dumps(_described(schema or {}))


def _described(schema):
    properties = {}
    for key, rule in schema.items():
        told = {name: value for name, value in rule.items() if name != "required"}
        if "properties" in told:
            told.update(_described(told["properties"]))
        properties[key] = told
    required = [key for key, rule in schema.items() if rule.get("required")]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _table(schema, given, path):
    for key in given:
        if key not in schema:
            raise SettingsError(path + key, _unknown(schema, path, key))
    values = SimpleNamespace()
    for key, rule in schema.items():
        if key in given:
            value = _value(rule, given[key], path + key)
        elif rule.get("required"):
            raise SettingsError(path + key, f"`{path}{key}` is missing")
        else:
            value = rule.get("default")
        setattr(values, key, value)
    return values


def _value(rule, given, path):
    def wrong(what):
        return SettingsError(path, f"`{path}` must be {what}")

    if "type" in rule:
        what, fits = TYPES[rule["type"]]
        if not fits(given):
            raise wrong(what)
    if "enum" in rule and given not in rule["enum"]:
        raise wrong("one of " + ", ".join(json.dumps(word) for word in rule["enum"]))
    if "minimum" in rule and given < rule["minimum"]:
        raise wrong(f"{rule['minimum']} or more")
    if "maximum" in rule and given > rule["maximum"]:
        raise wrong(f"{rule['maximum']} or less")
    if "minLength" in rule and len(given) < rule["minLength"]:
        raise wrong("longer")
    if "items" in rule:
        return [_value(rule["items"], item, f"{path}[{at}]") for at, item in enumerate(given)]
    if "properties" in rule:
        return _table(rule["properties"], given, f"{path}.")
    return given


def _unknown(schema, path, key):
    near = difflib.get_close_matches(key, schema, 1, 0.7)
    if near:
        hint = f"did you mean `{near[0]}`?"
    elif schema:
        hint = "known keys: `" + "`, `".join(schema) + "`"
    else:
        hint = "it takes none"
    return f"unknown key `{path}{key}`; {hint}"
