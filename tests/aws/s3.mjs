// s3.mjs PROGRAM FOLDER: objects of the shop (PROGRAM, tests/store/object_do.c)
// and of AWS's own client (npm `@aws-sdk/client-s3`) in one bucket of a server
// that speaks like S3 ($AWS_ENDPOINT): what one puts the other reads. Between
// the shop and the server is a proxy that holds every request to the SDK's own
// signer, writes down what it sees, and has faults where it is told to.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { Sha256 } from '@aws-crypto/sha256-js';
import {
  CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand,
  ListObjectsV2Command, PutObjectCommand, S3Client, UploadPartCommand,
} from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';

const [program, folder] = process.argv.slice(2);
const MiB = 1 << 20;
const BUCKET = 'souk-media', PREFIX = 'shop/ä b';
const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+secret', sessionToken: 'token+/==Of/a/session' };
const region = 'eu-central-1';
let n = 0, failed = 0;
const check = (name, problem) => {
  console.log(`${problem ? 'not ok' : 'ok'} ${++n} - ${name}`);
  if (problem) { failed++; console.log(`#   ${problem}`); }
};
const same = (name, got, want) => check(name, JSON.stringify(got) === JSON.stringify(want) ? ''
  : `got ${JSON.stringify(got)?.slice(0, 400)}, want ${JSON.stringify(want)?.slice(0, 400)}`);
const equal = (name, a, b) => check(name, Buffer.compare(a, b) === 0 ? '' : `${a.length} bytes are not the ${b.length} wanted`);

// ---- the proxy
const upstream = new URL(process.env.AWS_ENDPOINT);
const wrong = []; // signatures
let seen = [], fault = () => null;
const errorXml = (code) => `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>Said the test &amp; no one</Message></Error>`;

async function verify(rq, body) {
  const url = new URL(rq.url, 'http://x');
  const query = Object.fromEntries(url.searchParams);
  const presigned = query['X-Amz-Signature'];
  const date = (presigned ? query['X-Amz-Date'] : rq.headers['x-amz-date']) ?? '';
  const signingDate = new Date(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  const signer = new SignatureV4({ service: 's3', region, sha256: Sha256, credentials, uriEscapePath: false, applyChecksum: true });
  const plain = { method: rq.method, protocol: 'http:', hostname: rq.headers.host, path: rq.url.split('?')[0], query, headers: { host: rq.headers.host } };
  if (presigned) {
    for (const name of Object.keys(query)) if (name.startsWith('X-Amz-')) delete query[name];
    plain.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
    const names = new Set(['x-amz-content-sha256']);
    const signed = await signer.presign(plain, { signingDate, expiresIn: Number(url.searchParams.get('X-Amz-Expires')), unsignableHeaders: names, unhoistableHeaders: names });
    return signed.query['X-Amz-Signature'] === presigned ? '' : 'presigned otherwise';
  }
  const authorization = rq.headers.authorization ?? '';
  const names = /SignedHeaders=([^,]*)/.exec(authorization)?.[1].split(';') ?? [];
  if (rq.headers['x-amz-content-sha256'] !== createHash('sha256').update(body).digest('hex')) return 'x-amz-content-sha256 is not the body\'s';
  if ('content-md5' in rq.headers) return 'a Content-MD5';
  for (const name of ['content-type', 'cache-control', 'range', 'if-match'])
    if (name in rq.headers && !names.includes(name) && (rq.method !== 'DELETE' || name !== 'content-type')) return `${name} is not signed`;
  for (const name of names) plain.headers[name] = rq.headers[name];
  for (const name of ['authorization', 'x-amz-date', 'x-amz-security-token']) delete plain.headers[name];
  const signed = await signer.sign(plain, { signingDate, signableHeaders: new Set(names) });
  return signed.headers.authorization === authorization ? '' : `signed otherwise: ${authorization}`;
}

const forward = (rq, body, then) => {
  const up = request({ host: upstream.hostname, port: upstream.port, method: rq.method, path: rq.url, headers: rq.headers }, (rs) => {
    const parts = [];
    rs.on('data', (d) => parts.push(d)).on('end', () => then(rs, Buffer.concat(parts)));
  });
  up.on('error', () => rq.socket.destroy());
  up.end(body);
};
const proxy = createServer((rq, rs) => {
  const parts = [];
  rq.on('data', (d) => parts.push(d)).on('end', async () => {
    const body = Buffer.concat(parts);
    const url = new URL(rq.url, 'http://x');
    const one = { method: rq.method, query: url.searchParams.has('uploads') ? 'uploads' : url.searchParams.has('partNumber') ? `part${url.searchParams.get('partNumber')}` : url.searchParams.has('uploadId') ? 'upload' : '',
      size: body.length, range: rq.headers.range ?? '', id: url.searchParams.get('uploadId') };
    const problem = await verify(rq, body).catch((error) => String(error));
    if (problem) wrong.push(`${rq.method} ${rq.url}: ${problem}`);
    seen.push(one);
    const f = await fault(one, seen.filter((o) => o.method === one.method && o.query === one.query && o.range === one.range).length);
    if (f?.hang) return undefined;
    if (f?.cut === 'before') return rq.socket.destroy();
    if (f?.status) {
      rs.writeHead(f.status, { 'Content-Type': 'application/xml', 'x-amz-request-id': 'REQ1', ...f.headers });
      return rs.end(rq.method === 'HEAD' ? undefined : f.body ?? errorXml(f.code ?? ''));
    }
    return forward(rq, body, (up, answer) => {
      if (f?.cut === 'after') return rq.socket.destroy();
      rs.writeHead(up.statusCode, up.headers);
      if (f?.cut === 'within') { rs.write(answer.subarray(0, answer.length >> 1)); return setTimeout(() => rq.socket.destroy(), 50); }
      return rs.end(answer);
    });
  });
});
await new Promise((ok) => { proxy.listen(0, '127.0.0.1', ok); });
const endpoint = `http://127.0.0.1:${proxy.address().port}`;

// ---- ours and theirs
const said = [];
const run = (file, args, env) => new Promise((ok) => {
  execFile(file, args, { env: { ...process.env, ...env }, encoding: 'buffer', maxBuffer: 64 * MiB, timeout: 120000 }, (error, out, err) => {
    said.push(out.toString('latin1'), err.toString());
    ok({ error, out, err: err.toString() });
  });
});
async function ours(args, env = {}) {
  seen = [];
  const { out, err } = await run(program, args, { OBJECT_URL: `s3://${BUCKET}/${PREFIX}/`, OBJECT_ENDPOINT: endpoint, AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey, AWS_SESSION_TOKEN: credentials.sessionToken, AWS_REGION: region, ...env });
  const [rc, code, type, cache, size, url, kib, words] = out.toString().replace(/\n$/, '').split('\t');
  if (err) console.log(`# ${err.trim().slice(0, 2000)}`);
  return { rc, code, type, cache, size: Number(size), url, kib: Number(kib), words };
}
const client = new S3Client({ region, endpoint: upstream.origin, forcePathStyle: true, credentials, maxAttempts: 1 });
const theirKey = (key) => `${PREFIX}/${key}`;
const send = (Command, key, more) => client.send(new Command({ Bucket: BUCKET, Key: theirKey(key), ...more }));
async function theirGet(key) {
  try {
    const o = await send(GetObjectCommand, key);
    return { body: Buffer.from(await o.Body.transformToByteArray()), type: o.ContentType, cache: o.CacheControl ?? '', etag: o.ETag };
  } catch (error) { return { error: error.name, body: Buffer.alloc(0) }; }
}
async function theirList() {
  const keys = [];
  for (let token; ;) {
    const page = await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: `${PREFIX}/`, ContinuationToken: token }));
    keys.push(...(page.Contents ?? []).map((o) => o.Key.slice(PREFIX.length + 1)));
    if (!(token = page.NextContinuationToken)) return keys.sort();
  }
}
const file = (name) => `${folder}/${name}`;
const source = (size) => { const b = randomBytes(size); writeFileSync(file('source'), b); return b; };
const methods = () => seen.map((o) => `${o.method} ${o.query}`.trim()).join(', ');
const times = (count, f) => (one, time) => (time <= count ? f : null);
const only = (method, query, f) => (one, time) => (one.method === method && one.query === query ? (typeof f === 'function' ? f(one, time) : f) : null);

await client.send(new CreateBucketCommand({ Bucket: BUCKET }));

// ---- odd keys
const keys = ['plain.webp', 'a b  c.webp', 'a+b=c(d)[e]{f}.png', 'q?x=1&y#z', '100%', '%2F%41', '~tilde/-_.~', `'"<>&;\\^\`|*!@$,:`,
  'größe/東京/🛍.avif', 'e\u0301 is not \u00e9', '.hidden/...', 'a=', '=a', 'x'.repeat(900), `${'ü'.repeat(449)}/z`, 'a/b/c/d/e/f'];
const bodies = new Map();
for (const key of keys) {
  const name = `${JSON.stringify(key.length > 40 ? `${key.slice(0, 20)}...` : key)}`;
  const body = source(1 + bodies.size * 1000);
  bodies.set(key, body);
  let r = await ours([bodies.size % 2 ? 'put' : 'put_fd', key, file('source'), 'image/webp', 'public, max-age=31536000']);
  same(`${name}: put in one request`, [r.rc, methods()], ['ok', 'PUT']);
  const theirs = await theirGet(key);
  equal(`${name}: the SDK reads it`, theirs.body, body);
  same(`${name}: with its type and Cache-Control`, [theirs.type, theirs.cache], ['image/webp', 'public, max-age=31536000']);
  r = await ours(['head', key]);
  same(`${name}: head`, [r.rc, r.type, r.cache, r.size], ['ok', 'image/webp', 'public, max-age=31536000', body.length]);
  r = await ours([bodies.size % 2 ? 'get_fd' : 'get', key, String(body.length), file('got')]);
  same(`${name}: get`, [r.rc, r.type, r.cache, r.size, methods()], ['ok', 'image/webp', 'public, max-age=31536000', body.length, 'GET']);
  equal(`${name}: its bytes`, readFileSync(file('got')), body);
  r = await ours(['presign', key, '600']);
  const got = await run('curl', ['-fsS', '--max-time', '10', r.url]);
  equal(`${name}: curl reads its presigned address`, got.out, body);
}
same('the SDK lists what was put, and nothing else', await theirList(), [...keys].sort());
for (const key of keys) {
  const r = [await ours(['delete', key]), await ours(['delete', key]), await ours(['head', key]), await ours(['get', key, '9', file('got')])];
  same(`deleted, twice, and gone: ${key.slice(0, 40)}`, [...r.map((x) => x.rc), r[2].code, r[3].code, (await theirGet(key)).error],
    ['ok', 'ok', 'none', 'none', 'no_such_object', 'no_such_object', 'NoSuchKey']);
}
same('nothing is left', await theirList(), []);
for (const key of keys) {
  await send(PutObjectCommand, key, { Body: bodies.get(key), ContentType: 'image/avif', CacheControl: 'no-cache' });
  const r = await ours(['get', key, '999999', file('got')]);
  same(`what the SDK puts is read: ${key.slice(0, 40)}`, [r.rc, r.type, r.cache, Buffer.compare(readFileSync(file('got')), bodies.get(key))], ['ok', 'image/avif', 'no-cache', 0]);
  await send(DeleteObjectCommand, key);
}

// ---- sizes
let body = source(0);
let r = await ours(['put', 'empty', file('source'), 'text/plain', '']);
same('an empty object is put', [r.rc, (await theirGet('empty')).type], ['ok', 'text/plain']);
r = await ours(['get', 'empty', '100', file('got')]);
same('and read', [r.rc, r.type, r.cache, r.size, readFileSync(file('got')).length], ['ok', 'text/plain', '', 0, 0]);
r = await ours(['get_fd', 'empty', '0', file('got')]);
same('also where nothing more is wanted', [r.rc, r.size], ['ok', 0]);
body = source(5000);
await ours(['put', 'five', file('source'), '', '']);
same('without a type it is bytes', (await theirGet('five')).type, 'application/octet-stream');
r = await ours(['get', 'five', '4999', file('got')]);
same('more than is wanted is refused, and not fetched', [r.rc, r.code, seen[0].range], ['refused', 'object_too_large', 'bytes=0-4998']);
r = await ours(['get', 'five', '0', file('got')]);
same('also where nothing is wanted', [r.rc, r.code], ['refused', 'object_too_large']);
r = await ours(['get_fd', 'five', '5000', file('got')]);
equal('as much as is wanted is fetched', readFileSync(file('got')), body);

source(16 * MiB - 1);
fault = () => ({ status: 200, body: '' });
r = await ours(['put_fd', 'big', file('source'), 'image/png', '']);
same('16 MiB less a byte go in one request', [r.rc, methods(), seen[0].size], ['ok', 'PUT', 16 * MiB - 1]);
fault = () => null;
body = source(16 * MiB);
r = await ours(['put', 'big', file('source'), 'image/png', 'max-age=1']);
same('16 MiB go in parts of 8', [r.rc, methods(), seen.slice(1, 3).map((o) => o.size)], ['ok', 'POST uploads, PUT part1, PUT part2, POST upload', [8 * MiB, 8 * MiB]]);
let theirs = await theirGet('big');
equal('which the SDK reads as one', theirs.body, body);
same('with its type, Cache-Control and the ETag of two parts', [theirs.type, theirs.cache, /-2"$/.test(theirs.etag)], ['image/png', 'max-age=1', true]);
r = await ours(['get', 'big', String(16 * MiB), file('got')]);
same('it comes in ranges of 8', [r.rc, r.size, r.cache, seen.map((o) => o.range)], ['ok', 16 * MiB, 'max-age=1', ['bytes=0-8388607', 'bytes=8388608-16777215']]);
equal('whole', readFileSync(file('got')), body);
r = await ours(['get', 'big', String(16 * MiB - 1), file('got')]);
same('refused where it is larger than wanted by a byte', [r.rc, r.code], ['refused', 'object_too_large']);

body = source(64 * MiB + 5);
r = await ours(['put_fd', 'big', file('source'), 'image/png', '']);
same('64 MiB and 5 bytes from a file', [r.rc, seen.length, seen.at(-2).size, seen.at(-2).query], ['ok', 11, 5, 'part9']);
const limit = process.env.SOUK_IT_SANITIZED ? Infinity : 48 * 1024;
check('in bounded memory', r.kib > 0 && r.kib < limit ? '' : `${r.kib} KiB`);
r = await ours(['get_fd', 'big', String(100 * MiB), file('got')]);
same('and back', [r.rc, r.size, seen.length], ['ok', 64 * MiB + 5, 9]);
check('in bounded memory, too', r.kib > 0 && r.kib < limit ? '' : `${r.kib} KiB`);
equal('the same', readFileSync(file('got')), body);
body = source(9 * MiB);
await send(PutObjectCommand, 'big', { Body: body });
r = await ours(['get', 'big', String(9 * MiB), file('got')]);
equal('9 MiB of the SDK\'s', readFileSync(file('got')), body);

// ---- what may pass is tried again
const slow = { status: 503, code: 'SlowDown' };
body = source(100000);
fault = times(2, slow);
r = await ours(['put', 'k', file('source'), 'a/b', '']);
same('SlowDown twice: put at the third time', [r.rc, seen.length], ['ok', 3]);
for (const [name, f] of [['InternalError', { status: 500, code: 'InternalError' }], ['429', { status: 429 }], ['RequestTimeout', { status: 400, code: 'RequestTimeout' }],
  ['a cut connection', { cut: 'before' }], ['a cut answer', { cut: 'within' }]]) {
  fault = times(1, f);
  r = await ours(['get', 'k', '100000', file('got')]);
  same(`${name}: asked again`, [r.rc, seen.length, Buffer.compare(readFileSync(file('got')), body)], ['ok', 2, 0]);
}
for (const what of [['put', 'k', file('source'), 'a/b', ''], ['get_fd', 'k', '100000', file('got')], ['head', 'k'], ['delete', 'k']]) {
  fault = () => slow;
  const from = Date.now();
  r = await ours(what);
  same(`${what[0]}: SlowDown for ever is given up after five times, within a bound`, [r.rc, seen.length, Date.now() - from < 20000], ['retry', 5, true]);
}
fault = times(1, { hang: true });
r = await ours(['get', 'k', '100000', file('got')], { OBJECT_TIMEOUT_MS: '2000' });
same('no byte for the time allowed: asked again', [r.rc, seen.length], ['ok', 2]);

// ---- what does not pass is told at once
for (const [f, rc, code] of [
  [{ status: 403, code: 'AccessDenied' }, 'fail', 'aws_denied'], [{ status: 403, code: 'SignatureDoesNotMatch' }, 'fail', 'aws_denied'],
  [{ status: 404, code: 'NoSuchBucket' }, 'fail', 'bad_bucket'], [{ status: 301, code: 'PermanentRedirect' }, 'fail', 'bad_bucket'],
  [{ status: 400, code: 'AuthorizationHeaderMalformed' }, 'fail', 'bad_bucket'], [{ status: 400, code: 'InvalidArgument' }, 'invalid', 'aws_refused'],
]) {
  fault = () => f;
  const got = [];
  for (const what of [['put', 'k', file('source'), 'a/b', ''], ['get', 'k', '100000', file('got')], ['delete', 'k']]) {
    r = await ours(what);
    got.push(r.rc, r.code, seen.length);
  }
  same(`${f.status} ${f.code}`, got, [rc, code, 1, rc, code, 1, rc, code, 1]);
}
fault = () => ({ status: 404, code: 'NoSuchKey' });
same('a server that does not know what is to be deleted', (await ours(['delete', 'k'])).rc, 'ok');
fault = () => null;
r = await ours(['put', 'k', file('source'), 'a/b', ''], { OBJECT_URL: 's3://no-such-bucket' });
same('a bucket that there is not', [r.rc, r.code], ['fail', 'bad_bucket']);
same('what failed has left nothing behind', (await theirGet('k')).body.length, 100000);

// ---- parts
const uploadIsGone = async (id) => {
  try { await send(UploadPartCommand, 'parts', { UploadId: id, PartNumber: 1, Body: 'x' }); return 'it is there'; } catch (error) { return error.name; }
};
const putParts = () => ours(['put_fd', 'parts', file('source'), 'image/png', '']);
body = source(17 * MiB);
fault = only('PUT', 'part2', times(2, { cut: 'before' }));
r = await putParts();
same('a part that is cut is sent again, alone', [r.rc, methods()], ['ok', 'POST uploads, PUT part1, PUT part2, PUT part2, PUT part2, PUT part3, POST upload']);
equal('and all is there', (await theirGet('parts')).body, body);
fault = only('PUT', 'part3', { status: 403, code: 'AccessDenied' });
source(17 * MiB);
r = await putParts();
same('a part that is refused: the upload is aborted', [r.rc, r.code, methods()], ['fail', 'aws_denied', 'POST uploads, PUT part1, PUT part2, PUT part3, DELETE upload']);
same('and gone', await uploadIsGone(seen.at(-1).id), 'NoSuchUpload');
fault = only('POST', 'upload', times(2, { status: 200, body: errorXml('InternalError') }));
body = source(17 * MiB);
r = await putParts();
same('200 with an error in it is no success: completed at the third time', [r.rc, methods()], ['ok', 'POST uploads, PUT part1, PUT part2, PUT part3, POST upload, POST upload, POST upload']);
equal('and all is there', (await theirGet('parts')).body, body);
source(17 * MiB);
fault = only('POST', 'upload', { status: 200, body: `\n \n${errorXml('InternalError')}` });
r = await putParts();
same('for ever: given up and aborted', [r.rc, methods()], ['retry', 'POST uploads, PUT part1, PUT part2, PUT part3, POST upload, POST upload, POST upload, POST upload, POST upload, DELETE upload']);
same('and gone', await uploadIsGone(seen.at(-1).id), 'NoSuchUpload');
fault = only('POST', 'upload', { status: 200, body: errorXml('EntityTooSmall') });
r = await putParts();
same('an error that does not pass', [r.rc, r.code, methods()], ['invalid', 'aws_refused', 'POST uploads, PUT part1, PUT part2, PUT part3, POST upload, DELETE upload']);
fault = only('POST', 'uploads', { status: 200, body: '<InitiateMultipartUploadResult></InitiateMultipartUploadResult>' });
r = await putParts();
same('an upload without a name', [r.rc, methods()], ['retry', 'POST uploads']);
equal('what was there before is there still', (await theirGet('parts')).body, body);
fault = only('POST', 'upload', times(1, { cut: 'after' }));
body = source(17 * MiB);
r = await putParts();
same('completed, but nobody said so: to be put again', [r.rc, r.code], ['retry', 'object_upload_lost']);
fault = () => null;
r = await putParts();
equal('which does it', (await theirGet('parts')).body, body);

// ---- ranges
fault = (one, time) => (one.range === 'bytes=8388608-16777215' && time <= 2 ? { cut: 'within' } : null);
r = await ours(['get_fd', 'parts', String(17 * MiB), file('got')]);
same('a range that is cut is asked for again, alone', [r.rc, seen.map((o) => o.range.split('-')[0])], ['ok', ['bytes=0', 'bytes=8388608', 'bytes=8388608', 'bytes=8388608', 'bytes=16777216']]);
equal('and all is there', readFileSync(file('got')), body);
fault = async (one) => { if (one.range.startsWith('bytes=8388608')) await send(PutObjectCommand, 'parts', { Body: randomBytes(10 * MiB) }); return null; };
r = await ours(['get_fd', 'parts', String(17 * MiB), file('got')]);
same('one that is replaced while it is read is told', [r.rc, r.code], ['retry', 'object_changed']);
await send(PutObjectCommand, 'parts', { Body: randomBytes(10 * MiB) });
fault = async (one) => { if (one.range.startsWith('bytes=8388608')) await send(DeleteObjectCommand, 'parts'); return null; };
r = await ours(['get', 'parts', String(17 * MiB), file('got')]);
same('so is one that is deleted', [r.rc, r.code], ['retry', 'object_changed']);
fault = () => ({ status: 206, body: 'abc', headers: { 'Content-Range': 'bytes 0-9/10' } });
r = await ours(['get', 'five', '100', file('got')]);
same('a range that is not what it says is not taken', r.rc, 'retry');
fault = () => ({ status: 206, body: 'abc' });
r = await ours(['get', 'five', '100', file('got')]);
same('nor one that does not say what it is', r.rc, 'retry');
fault = () => ({ status: 200, body: 'abc', headers: { 'Content-Type': 'a/b' } });
r = await ours(['get', 'five', '100', file('got')]);
same('a server without ranges is taken as it is', [r.rc, r.size, r.type, readFileSync(file('got')).toString()], ['ok', 3, 'a/b', 'abc']);
fault = () => null;

same('every request was signed as the SDK signs it', wrong.slice(0, 5), []);
check('no secret was said', said.some((s) => s.includes(credentials.secretAccessKey) || s.includes('Of/a/session')) ? 'one was' : '');
proxy.close();
proxy.closeAllConnections();
process.exit(failed === 0 ? 0 : 1);
