// Settings, read by the schema that a plugin declares: its defaults filled in, and anything that it
// does not allow refused by its key.
//
// The schema is a table of keys, each in the words of JSON Schema: `type` (`string`, `integer`,
// `number`, `boolean`, `array` with `items`, `object` with `properties`), `enum`, `minimum`,
// `maximum`, `minLength`, `default`, `description`; and `required: true` for a key that must be
// there.

/** Why settings are refused: the key at fault, and what would be right, in lower case. */
export class SettingsError extends Error {
  constructor(key, message) {
    super(message);
    this.name = 'SettingsError';
    this.key = key;
  }
}

/** The settings in a JSON text, by a schema. */
export function read(schema, text) {
  const given = JSON.parse(text);
  return table(schema, given, '');
}

/** The JSON schema of a table, as `description.settings` has it. */
export function describe(schema = {}) {
  const required = Object.keys(schema).filter((key) => schema[key].required);
  const properties = {};
  for (const [key, { required: _, ...rest }] of Object.entries(schema)) {
    properties[key] = rest.properties
      ? { ...rest, ...JSON.parse(describe(rest.properties)) }
      : rest;
  }
  return JSON.stringify({ type: 'object', properties, required, additionalProperties: false });
}

function table(schema = {}, given, path) {
  const values = {};
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(schema, key))
      throw new SettingsError(path + key, unknown(schema, path, key));
  }
  for (const [key, rule] of Object.entries(schema)) {
    if (Object.hasOwn(given, key)) {
      values[key] = value(rule, given[key], path + key);
    } else if (rule.required) {
      throw new SettingsError(path + key, `\`${path}${key}\` is missing`);
    } else {
      values[key] = rule.default;
    }
  }
  return values;
}

function value(rule, given, path) {
  const wrong = (what) => new SettingsError(path, `\`${path}\` must be ${what}`);
  const is = {
    string: typeof given === 'string',
    integer: Number.isSafeInteger(given),
    number: typeof given === 'number',
    boolean: typeof given === 'boolean',
    array: Array.isArray(given),
    object: typeof given === 'object' && !Array.isArray(given),
  };
  const names = {
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: '`true` or `false`',
    array: 'a list',
    object: 'a table',
  };
  if (rule.type && !is[rule.type]) throw wrong(names[rule.type]);
  if (rule.enum && !rule.enum.includes(given)) {
    throw wrong(`one of ${rule.enum.map((word) => JSON.stringify(word)).join(', ')}`);
  }
  if (given < rule.minimum) throw wrong(`${rule.minimum} or more`);
  if (given > rule.maximum) throw wrong(`${rule.maximum} or less`);
  if (rule.minLength && given.length < rule.minLength) throw wrong('longer');
  if (rule.items) return given.map((item, at) => value(rule.items, item, `${path}[${at}]`));
  if (rule.properties) return table(rule.properties, given, `${path}.`);
  return given;
}

function unknown(schema, path, key) {
  const known = Object.keys(schema);
  const near = known.find((other) => edits(other, key) <= Math.max(1, Math.floor(key.length / 3)));
  let hint = 'it takes none';
  if (near) hint = `did you mean \`${near}\`?`;
  else if (known.length) hint = `known keys: \`${known.join('`, `')}\``;
  return `unknown key \`${path}${key}\`; ${hint}`;
}

/** Letters to add, drop, change, or swap with the next one, from one word to the other. */
function edits(a, b) {
  const d = Array.from({ length: a.length + 1 }, (_, i) => [i]);
  for (let j = 0; j <= b.length; j++) d[0][j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      d[i][j] = Math.min(
        d[i - 1][j] + 1,
        d[i][j - 1] + 1,
        d[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.length][b.length];
}
