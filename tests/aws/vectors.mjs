// vectors.mjs: writes vectors.json anew: requests, and how the AWS SDK's own
// signer (npm `@smithy/signature-v4`) signs them. `--print` writes them to
// stdout; `--random COUNT SEED` other ones, drawn by that seed.
import { writeFileSync } from 'node:fs';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';

const UNSIGNED = 'UNSIGNED-PAYLOAD';
const SHA256 = 'x-amz-content-sha256';
const base = {
  service: 's3', region: 'eu-central-1', id: 'AKIDEXAMPLE',
  secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', token: '',
  method: 'GET', host: 'bucket.s3.eu-central-1.amazonaws.com', path: '/',
  query: [], headers: [], body: '', unsigned: false, seconds: 0,
  wall_ms: 1440938160000,
};
const sqs = {
  service: 'sqs', method: 'POST', host: 'sqs.eu-central-1.amazonaws.com',
  headers: [['Content-Type', 'application/x-amz-json-1.0'], ['X-Amz-Target', 'AmazonSQS.SendMessageBatch']],
  body: '{"QueueUrl":"http://localhost/q","Entries":[{"Id":"0","MessageBody":"Grüße"}]}',
};
const token = 'IQoJb3JpZ2luX2VjEHoaDGV1LWNlbnRyYWwtMSJHMEUCIQD+/9==';

const cases = [
  { name: 'nothing odd' },
  { name: 'a key with a space', path: '/a b/c  d.webp' },
  { name: 'a key with + and %', path: '/a+b%20c%2Fd%/100%' },
  { name: 'a key with ~ and .', path: '/~a/.b/-_c' },
  { name: 'a key with = ( ) * ! \'', path: '/a=(b)*!\'.png' },
  { name: 'a key with every ASCII mark', path: '/ !"#$&\'()*+,-./:;<=>?@[\\]^_`{|}~' },
  { name: 'a key in UTF-8', path: '/größe/東京/🛍/é' },
  { name: 'a key with empty parts', path: '//a///b//' },
  { name: 'a key with dots for parts', path: '/a/../b/./c/..' },
  { name: 'a key that ends with a slash', path: '/folder/' },
  { name: 'a key with control bytes', path: '/a\tb\nc\x7f' },
  { name: 'a long key', path: `/${'ä'.repeat(500)}` },
  { name: 'put', method: 'PUT', path: '/x.txt', body: 'Welcome to Amazon S3.', headers: [['Content-Type', 'text/plain']] },
  { name: 'put unsigned', method: 'PUT', path: '/x', unsigned: true, headers: [['content-type', 'image/avif']] },
  { name: 'put nothing', method: 'PUT', path: '/x' },
  { name: 'head', method: 'HEAD', path: '/x' },
  { name: 'delete', method: 'DELETE', path: '/x' },
  { name: 'a query without a value', query: [['uploads', '']], method: 'POST', path: '/x' },
  { name: 'a query unsorted', query: [['uploadId', 'VXBsb2Fk/+=~'], ['partNumber', '10']], method: 'PUT' },
  { name: 'a query with names of one beginning', query: [['a-b', '1'], ['a', '2'], ['a0', '3'], ['a.b', '4'], ['a=b', '5'], ['A', '6']] },
  { name: 'a query repeated', query: [['a', 'z'], ['b', '0'], ['a', 'y'], ['a', ''], ['a', 'Z']] },
  { name: 'a query repeated, with values of one beginning', query: [['a', 'x-'], ['a', 'x'], ['a', 'x%'], ['a', 'x&'], ['a', 'x='], ['a', 'ä']] },
  { name: 'a query with marks', query: [['p', ' /?#[]@!$&\'()*+,;=:%~-._"<>\\^`{|}']] },
  { name: 'a query with marks in its name', query: [['a b&c=d+e/ü~', '1'], ['%41', '2']] },
  { name: 'a query in UTF-8', query: [['prefix', 'größe/東京/🛍'], ['ä', 'a'], ['z', 'b']] },
  { name: 'a query with an empty name', query: [['', 'x'], ['a', '']] },
  { name: 'headers with spaces', headers: [['x-amz-meta-a', '   a   b  '], ['x-amz-meta-b', '\t c\t\td '], ['Content-Type', ' text/plain;  charset=utf-8']] },
  { name: 'headers in any case and order', headers: [['X-AMZ-Meta-Z', '1'], ['x-amz-meta-a', '2'], ['Content-MD5', 'CY9rzUYh03PK3k6DJie09g=='], ['CONTENT-TYPE', 'a/b']] },
  { name: 'headers with names of one beginning', headers: [['x-amz-meta-a-b', '1'], ['x-amz-meta-a', '2'], ['x-amz-meta-ab', '3'], ['x-amz-meta-a.b', '4'], ['x-amz-meta-a_b', '5']] },
  { name: 'a header without a value', headers: [['x-amz-meta-empty', ''], ['x-amz-meta-blank', '  ']] },
  { name: 'a header in UTF-8', headers: [['x-amz-meta-name', 'Größe „42“']] },
  { name: 'headers before and behind host', headers: [['Accept', '*/*'], ['Range', 'bytes=0-9'], ['If-None-Match', '"abc"']] },
  { name: 'cache-control is signed too', method: 'PUT', headers: [['Cache-Control', 'public, max-age=31536000,  immutable']] },
  { name: 'twelve headers', token, headers: [...Array(12)].map((_, i) => [`x-amz-meta-${i}`, `${i}`]) },
  { name: 'a token', token },
  { name: 'a long token', token: token.repeat(40) },
  { name: 'a host with a port', host: '127.0.0.1:4566', path: '/bucket/a b' },
  { name: 'a host in brackets', host: '[::1]:9000', path: '/bucket/a' },
  { name: 'a host in capitals', host: 'Bucket.Example:443' },
  { name: 'a secret with marks', secret: 'a/b+c=d e"\\ü' },
  { name: 'a short secret', secret: 'x' },
  { name: 'a secret longer than a block', secret: 'k'.repeat(200) },
  { name: 'another region', region: 'us-gov-west-1' },
  { name: 'the last second of a year', wall_ms: 1735689599999 },
  { name: 'a leap day', wall_ms: 1709164800000 },
  { name: 'past 2038', wall_ms: 2208988800000 },
  { name: 'sqs', ...sqs },
  { name: 'sqs with a token', ...sqs, token },
  { name: 'sqs on a port', ...sqs, host: 'localhost:4566' },
  { name: 'sqs without a body', ...sqs, body: '', headers: [] },
  { name: 'sqs, a queue\'s path', ...sqs, path: '/123456789012/souk orders.fifo' },
  { name: 'sqs, a path encoded twice', ...sqs, path: '/a b/ü/%41/(c)=*~' },
  { name: 'sqs, a path normalised', ...sqs, path: '//a/./b/../c//' },
  { name: 'sqs, a path above the root', ...sqs, path: '/../../a/..' },
  { name: 'sqs, only dots', ...sqs, path: '/./' },
  { name: 'sqs, three dots are a name', ...sqs, path: '/.../a..' },
  { name: 'sqs by query', ...sqs, body: '', headers: [], query: [['Version', '2012-11-05'], ['Action', 'ListQueues']] },
  { name: 'sqs unsigned', ...sqs, unsigned: true },
  { name: 'sts', ...sqs, service: 'sts', headers: [['Content-Type', 'application/x-www-form-urlencoded']],
    body: 'Action=GetCallerIdentity&Version=2011-06-15' },
  { name: 'presigned', path: '/products/1/a.webp', seconds: 3600 },
  { name: 'presigned, a second', seconds: 1 },
  { name: 'presigned, a week', seconds: 604800 },
  { name: 'presigned with a token', path: '/a', token, seconds: 60 },
  { name: 'presigned, an odd key', path: '/größe (1)/a+b=~*!\'/..//', seconds: 60 },
  { name: 'presigned with a query', seconds: 60, query: [
    ['response-content-disposition', 'attachment; filename="größe 1.webp"'], ['versionId', ''], ['Z', '1'], ['a', '2']] },
  { name: 'presigned put on a port', method: 'PUT', host: 'localhost:9000', path: '/b/k', seconds: 60 },
  { name: 'presigned, its headers are not signed', headers: [['Content-Type', 'a/b']], seconds: 60 },
  { name: 'presigned for sqs', ...sqs, method: 'GET', body: '', headers: [], path: '/1/a b', query: [['Action', 'ReceiveMessage']], seconds: 60 },
  { name: 'presigned for sqs, with a body', ...sqs, headers: [], seconds: 60, token },
  { name: 'presigned for sqs, unsigned', ...sqs, headers: [], seconds: 60, unsigned: true },
];

const encode = (s) => encodeURIComponent(s)
  .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const encodePath = (path) => path.split('/').map(encode).join('/');
const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const encodeQuery = (query) => query.map(([k, v]) => [encode(k), encode(v)])
  .sort((a, b) => order(a[0], b[0]) || order(a[1], b[1])).map((p) => p.join('=')).join('&');

async function sign(v) {
  const signer = new SignatureV4({
    service: v.service, region: v.region, sha256: Sha256,
    credentials: { accessKeyId: v.id, secretAccessKey: v.secret, sessionToken: v.token || undefined },
    uriEscapePath: v.service !== 's3', applyChecksum: v.service === 's3',
  });
  const query = {};
  for (const [k, value] of v.query) (query[k] ??= []).push(value);
  const request = {
    method: v.method, protocol: 'https:', hostname: v.host, path: encodePath(v.path),
    query, headers: { host: v.host }, body: v.body,
  };
  const signingDate = new Date(v.wall_ms);
  if (v.seconds === 0) {
    Object.assign(request.headers, Object.fromEntries(v.headers));
    if (v.unsigned) request.headers[SHA256] = UNSIGNED;
    // All that is given is signed, also what a browser's agent would change.
    const signableHeaders = new Set(v.headers.map(([name]) => name.toLowerCase()));
    const { headers } = await signer.sign(request, { signingDate, signableHeaders });
    const added = Object.entries(headers).filter(([name]) =>
      name !== 'host' && !v.headers.some(([given]) => given === name)).sort();
    return { target: encodePath(v.path) + (v.query.length ? `?${encodeQuery(v.query)}` : ''),
      added: added.map(([name, value]) => `${name}: ${value}`) };
  }
  if (v.service === 's3' || v.unsigned) request.headers[SHA256] = UNSIGNED;
  const names = new Set([SHA256]);
  const signed = await signer.presign(request, { signingDate, expiresIn: v.seconds,
    unsignableHeaders: names, unhoistableHeaders: names });
  const signature = signed.query['X-Amz-Signature'];
  delete signed.query['X-Amz-Signature'];
  const flat = Object.entries(signed.query).flatMap(([k, value]) => [value].flat().map((x) => [k, x]));
  return { target: `${encodePath(v.path)}?${encodeQuery(flat)}&X-Amz-Signature=${signature}` };
}

// A generator whose numbers are the same everywhere (mulberry32).
function numbers(seed) {
  let a = seed | 0;
  return (n) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

function drawn(count, seed) {
  const below = numbers(seed);
  const signs = [...'abzAZ09-._~ +%=&/?#()*!\':,;@"<>[]{}|\\^`$\tüß東🛍', '..', './', '//', '%2F', '%c3'];
  const text = (max) => [...Array(below(max + 1))].map(() => signs[below(signs.length)]).join('');
  const one = (...of) => of[below(of.length)];
  return [...Array(count)].map((_, i) => {
    const headers = new Map();
    for (let n = below(8); n > 0; n--)
      headers.set(`x-amz-meta-${one('a', 'A', 'a-b', 'ab', 'a.b', 'Z', '0', 'a-')}`.toLowerCase(),
        text(12));
    return {
      name: `drawn ${seed}/${i}`, service: one('s3', 's3', 'sqs', 'sts'), region: one('us-east-1', 'eu-central-1'),
      id: `AKID${i}`, secret: text(90), token: one('', '', text(200)).trim().replace(/\s+/g, ''),
      method: one('GET', 'PUT', 'POST', 'DELETE', 'HEAD'), host: one('a.example', 'localhost:9000', '[::1]:1'),
      path: `/${text(20)}`, query: [...Array(below(6))].map(() => [one('a', 'b', text(4)), text(8)]),
      headers: [...headers].map(([name, value]) => [one(name, name.toUpperCase()), value]),
      body: text(50), unsigned: below(4) === 0, seconds: one(0, 0, 0, 1 + below(604800)),
      wall_ms: 1000 * (1400000000 + below(1000000000)) + below(1000),
    };
  });
}

const args = process.argv.slice(2);
const vectors = [];
for (const c of args[0] === '--random' ? drawn(Number(args[1]), Number(args[2])) : cases) {
  const { name, ...rest } = c;
  const v = { name, ...base, ...rest };
  vectors.push({ ...v, want: await sign(v) });
}
const textOf = `[\n${vectors.map((v) => JSON.stringify(v)).join(',\n')}\n]\n`;
if (args.length > 0) process.stdout.write(textOf);
else writeFileSync(new URL('vectors.json', import.meta.url), textOf);
