// openapi.mjs URL TOKEN ID: is /api/openapi.json true? Every GET it names is
// asked, every answer held against its schema, errors too; every member that is
// answered must be described.
const [url, token, id] = process.argv.slice(2);
const doc = await (await fetch(`${url}/api/openapi.json`)).json();
let passed = 0, failed = 0;

function check(name, problems) {
  if (problems.length === 0) { passed++; console.log(`ok - ${name}`); return; }
  failed++;
  console.log(`not ok - ${name}`);
  for (const p of problems.slice(0, 5)) console.log(`#   ${p}`);
}

const deref = (s) => (s.$ref ? s.$ref.slice(2).split('/').reduce((o, k) => o[k], doc) : s);
const typeOf = (v) => (v === null ? 'null' : Array.isArray(v) ? 'array'
  : Number.isInteger(v) ? 'integer' : typeof v);

// JSON Schema 2020-12, as much of it as the document uses.
function validate(schema, v, at, out) {
  const s = deref(schema);
  const t = typeOf(v);
  if (s.type) {
    const types = [s.type].flat();
    if (!types.includes(t) && !(t === 'integer' && types.includes('number')))
      return void out.push(`${at}: ${t} where ${types} is described`);
  }
  if (s.enum && !s.enum.includes(v)) out.push(`${at}: ${v} is not one of ${s.enum}`);
  if ('const' in s && s.const !== v) out.push(`${at}: ${v} is not ${s.const}`);
  if (s.pattern && !new RegExp(s.pattern, 'u').test(v)) out.push(`${at}: ${v} !~ ${s.pattern}`);
  if (s.minimum !== undefined && v !== null && v < s.minimum) out.push(`${at}: ${v} < ${s.minimum}`);
  if (s.maxItems !== undefined && v.length > s.maxItems) out.push(`${at}: more than ${s.maxItems}`);
  if (s.format === 'date-time' && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(v))
    out.push(`${at}: ${v} is no UTC time`);
  for (const part of s.allOf ?? []) validate(part, v, at, out);
  if (s.anyOf && !s.anyOf.some((a) => { const o = []; validate(a, v, at, o); return o.length === 0; }))
    out.push(`${at}: none of the alternatives`);
  if (t === 'array' && s.items) v.forEach((x, i) => validate(s.items, x, `${at}[${i}]`, out));
  if (t === 'object') {
    for (const k of s.required ?? []) if (!(k in v)) out.push(`${at}.${k}: missing`);
    const known = s.properties;
    for (const [k, x] of Object.entries(v)) {
      if (known?.[k]) validate(known[k], x, `${at}.${k}`, out);
      else if (typeof s.additionalProperties === 'object')
        validate(s.additionalProperties, x, `${at}.${k}`, out);
      else if (known && !at.endsWith('!')) out.push(`${at}.${k}: not described`);
    }
  }
}

async function answer(method, path, want, init = {}) {
  const key = Object.keys(doc.paths).find((p) =>
    new RegExp(`^${p.replace(/\{\w+\}/g, '[^/]+')}$`).test(path.split('?')[0]));
  const op = doc.paths[key][method.toLowerCase()];
  const rs = await fetch(url + path, { method, ...init });
  const text = await rs.text();
  const problems = [];
  if (rs.status !== want) problems.push(`status ${rs.status}, not ${want}`);
  const described = op.responses[String(rs.status)];
  if (!described) problems.push(`${rs.status} is not described`);
  const content = described && deref(described).content;
  const type = (rs.headers.get('content-type') ?? '').split(';')[0];
  if (content && !content[type]) problems.push(`${type} is not described`);
  const schema = content?.[type]?.schema;
  // A picture of a list is allOf: its members are described in two places.
  if (schema && type === 'application/json') {
    const all = [];
    validate(schema, JSON.parse(text), '$', all);
    problems.push(...all.filter((p) => !/images\[\d+\]\.\w+: not described$/.test(p)));
  }
  for (const h of Object.keys(described ? deref(described).headers ?? {} : {}))
    if (h !== 'Link' && !rs.headers.get(h)) problems.push(`no ${h}`);
  check(`${method} ${path} -> ${want}`, problems);
}

const json = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
await answer('GET', '/api/products', 200);
await answer('GET', '/api/products?limit=3&q=a', 200);
await answer('GET', '/api/products?limit=0', 400);
await answer('GET', `/api/products/${id}`, 200);
await answer('GET', '/api/products/999999999', 404);
await answer('GET', `/api/products/${id}/stock`, 200);
await answer('PUT', `/api/products/${id}`, 200, { headers: json, body: '{}' });
await answer('PUT', `/api/products/${id}`, 401, { body: '{}' });
await answer('PUT', `/api/products/${id}`, 400, { headers: json, body: '{' });
await answer('PUT', `/api/products/${id}`, 422, { headers: json, body: '{"title":1}' });
await answer('PUT', `/api/products/${id}`, 412,
  { headers: { ...json, 'If-Match': '"0"' }, body: '{}' });
await answer('PUT', '/api/products/999999999', 404, { headers: json, body: '{}' });
const pictures = `/api/products/${id}/images`;
const bearer = { Authorization: `Bearer ${token}` };
await answer('GET', pictures, 200, { headers: bearer });
await answer('GET', pictures, 401);
await answer('GET', `${pictures}/999999999`, 404, { headers: bearer });
await answer('POST', pictures, 401, { body: 'x' });
await answer('POST', pictures, 415, { headers: json, body: '{}' });
await answer('DELETE', `${pictures}/999999999`, 404, { headers: bearer });
await answer('DELETE', `${pictures}/1`, 401);
const plain = { 'Content-Type': 'application/json' };
await answer('POST', '/api/events', 202,
  { headers: plain, body: '{"name":"page_seen","data":{"path":"/"}}' });
await answer('POST', '/api/events', 422, { headers: plain, body: '{"name":"Page seen"}' });
await answer('POST', '/api/events', 400, { headers: plain, body: '[]' });
await answer('POST', '/api/events', 415, { body: '{"name":"page_seen"}' });
await answer('POST', '/api/webhooks/stripe', 400, { headers: plain, body: '{}' });
const person = `{"email":"api-${Date.now()}@example.com","password":"cloud berry 81 zz"}`;
await answer('POST', '/api/register', 201, { headers: plain, body: person });
await answer('POST', '/api/register', 409, { headers: plain, body: person });
await answer('POST', '/api/register', 422, { headers: plain, body: '{"email":"a@b.cc","password":"x"}' });
await answer('POST', '/api/login', 200, { headers: plain, body: person });
await answer('POST', '/api/login', 401,
  { headers: plain, body: '{"email":"a@b.cc","password":"x"}' });
await answer('POST', '/api/login', 403,
  { headers: { ...plain, Origin: 'https://evil.example' }, body: person });
const login = await fetch(`${url}/api/login`, { method: 'POST', headers: plain, body: person });
const cookie = { Cookie: (login.headers.get('set-cookie') ?? '').split(';')[0] };
await answer('GET', '/api/account', 200, { headers: cookie });
await answer('GET', '/api/account', 401);
await answer('GET', '/api/account/sessions', 200, { headers: cookie });
await answer('DELETE', '/api/account/sessions/999999999', 404, { headers: cookie });
await answer('DELETE', '/api/account/sessions', 204, { headers: cookie });
await answer('POST', '/api/password/forgot', 202, { headers: plain, body: person });
await answer('POST', '/api/password/reset', 400,
  { headers: plain, body: '{"token":"x","password":"cloud berry 82"}' });
await answer('POST', '/api/logout', 204, { method: 'POST', headers: cookie });
const item = (n) => JSON.stringify({ email: 'guest@example.com',
  items: [{ productId: Number(id), variantId: n, quantity: 1 }] });
const product = await (await fetch(`${url}/api/products/${id}`)).json();
const variant = product.variants.find((v) => v.stock > 0)?.id;
await answer('POST', '/api/orders', 201, { headers: plain, body: item(variant) });
await answer('POST', '/api/orders', 422, { headers: plain, body: item(999999999) });
await answer('POST', '/api/orders', 400, { headers: plain, body: '[' });
await answer('POST', '/api/orders', 415, { body: item(variant) });
const placed = await (await fetch(`${url}/api/orders`,
  { method: 'POST', headers: plain, body: item(variant) })).json();
await answer('GET', `/api/orders/${placed.id}`, 404);
await answer('GET', `/api/orders/${placed.id}?t=${placed.accessToken}`, 200);
await answer('POST', `/api/orders/${placed.id}/payment?t=${placed.accessToken}`, 409);
await answer('POST', `/api/orders/${placed.id}/cancel`, 404);
await answer('POST', `/api/orders/${placed.id}/cancel?t=${placed.accessToken}`, 200);
await answer('GET', '/healthz', 200);
await answer('GET', '/readyz', 200);
await answer('GET', '/metrics', 200);
await answer('GET', '/api/openapi.json', 200);

const ids = Object.values(doc.paths).flatMap((p) => Object.values(p))
  .map((o) => o.operationId).filter(Boolean);
check('operation ids are unique', new Set(ids).size === ids.length ? [] : ['one comes twice']);
const refs = [...JSON.stringify(doc).matchAll(/"\$ref":"([^"]+)"/g)].map((m) => m[1]);
check('every $ref leads somewhere', refs.filter((r) => !deref({ $ref: r })));
console.log(`# ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
