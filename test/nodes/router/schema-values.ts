/** Values that a JSON schema describes, and such as are wrong somewhere. */
import fc from 'fast-check';

export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly not?: JsonSchema;
}

/** Any value that a schema allows. */
export function valueOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const either = schema.anyOf ?? schema.oneOf;
  if (either !== undefined) return fc.oneof(...either.map(valueOf));
  if (typeof schema.type === 'object') {
    return fc.oneof(...schema.type.map((type) => valueOf({ ...schema, type })));
  }
  switch (schema.type) {
    case 'null':
      return fc.constant(null);
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.integer({ min: low(schema), max: Math.min(schema.maximum ?? 1_000, 2 ** 31 - 1) });
    case 'number':
      return fc.double({ min: low(schema), max: schema.maximum ?? 1_000, noNaN: true });
    case 'string':
      return textOf(schema);
    case 'array': {
      const { minItems = 0, maxItems = 4 } = schema;
      const maxLength = Math.min(maxItems, Math.max(minItems, 4));
      return fc.array(valueOf(schema.items ?? {}), { minLength: minItems, maxLength });
    }
    case 'object': {
      const { properties = {}, required = [] } = schema;
      const fields = Object.entries(properties).map(([name, field]) => [name, valueOf(field)]);
      return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, {
        requiredKeys: [...required],
      });
    }
    default:
      return fc.jsonValue();
  }
}

function low({ minimum, exclusiveMinimum }: JsonSchema): number {
  return Math.max(minimum ?? exclusiveMinimum ?? -1_000, -(2 ** 31));
}

function textOf({ pattern, format, minLength = 0, maxLength = 50 }: JsonSchema) {
  if (format === 'base64') {
    return fc
      .uint8Array({ minLength: 1, maxLength: 60 })
      .map((b) => Buffer.from(b).toString('base64'));
  }
  // The pattern of an age recipient allows 4,000 characters: fewer say as much.
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern), { size: 'xsmall' });
  return fc.string({ minLength, maxLength: Math.min(maxLength, 50), unit: 'binary' });
}

/** A value with one place in it made something else. */
export function wrongValueOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const other = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(-1, 0, 1e308, '', '\ud800', '\0', '0x', [], {}, null, true, [[[[]]]]),
  );
  return fc
    .tuple(valueOf(schema), other, fc.nat())
    .map(([value, put, at]) => replaceAt(value, put, at));
}

function replaceAt(value: unknown, put: unknown, at: number): unknown {
  if (typeof value !== 'object' || value === null) return put;
  const keys = Object.keys(value);
  const key = keys[at % (keys.length + 1)];
  if (key === undefined) return put;
  const inner = (value as Record<string, unknown>)[key];
  const changed = replaceAt(inner, put, Math.floor(at / (keys.length + 1)));
  return Array.isArray(value)
    ? value.map((item: unknown, i) => (String(i) === key ? changed : item))
    : { ...value, [key]: changed };
}
