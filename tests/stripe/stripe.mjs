// stripe.mjs PROGRAM: Stripe's own client (npm `stripe`) and the shop's adapter
// (PROGRAM, tests/store/stripe_calls.c) do the same operations against a server
// that writes down what it is sent. Method, path, query, form, and the headers
// that matter must be the same, but for what `differences` names. Then the
// server gives documented answers, errors and cut connections among them, and
// both are held to what they make of each.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Stripe from 'stripe';

const VERSION = '2024-06-20';
const ORDER = '0123456789abcdef0123456789abcdef';
let failed = 0, n = 0;
const check = (name, problem) => {
  console.log(`${problem ? 'not ok' : 'ok'} ${++n} - ${name}`);
  if (problem) { failed++; console.log(`#   ${problem}`); }
};
const same = (name, got, want) => check(name,
  JSON.stringify(got) === JSON.stringify(want) ? '' : `got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);

// ---- the recording server
const intent = (o = {}) => ({ id: 'pi_3Test', object: 'payment_intent', amount: 1250, currency: 'usd',
  status: 'requires_payment_method', latest_charge: null, last_payment_error: null,
  metadata: { order_id: ORDER }, ...o });
const error = (type, code, message, more = {}) => ({ error: { type, code, message, ...more } });
let answer = { status: 200, body: intent() }; // or a list of them, one a request
let seen = [];
const server = createServer((rq, rs) => {
  let body = '';
  rq.on('data', (d) => { body += d; });
  rq.on('end', () => {
    const url = new URL(rq.url, 'http://x');
    seen.push({
      method: rq.method, path: url.pathname,
      query: [...url.searchParams].sort(), form: [...new URLSearchParams(body)].sort(),
      type: rq.headers['content-type'] ?? '', authorization: rq.headers.authorization ?? '',
      key: rq.headers['idempotency-key'] ?? '', version: rq.headers['stripe-version'] ?? '',
      agent: rq.headers['user-agent'] ?? '', telemetry: rq.headers['x-stripe-client-user-agent'] ?? '',
    });
    const a = Array.isArray(answer) ? answer[Math.min(seen.length, answer.length) - 1] : answer;
    if (a.cut === 'before') return rq.socket.destroy();
    if (a.cut === 'never') return undefined;
    const text = a.raw ?? JSON.stringify(a.body);
    rs.writeHead(a.status, { 'Content-Type': 'application/json', 'Request-Id': 'req_1',
      'Content-Length': Buffer.byteLength(text), ...a.headers });
    if (a.cut === 'within') { rs.write(text.slice(0, 10)); return setTimeout(() => rq.socket.destroy(), 20); }
    return rs.end(text);
  });
});
await new Promise((ok) => { server.listen(0, '127.0.0.1', ok); });
const { port } = server.address();

// ---- both clients
const theirs = new Stripe('sk_test_x', { apiVersion: VERSION, host: '127.0.0.1', port,
  protocol: 'http', maxNetworkRetries: 0, telemetry: false, timeout: 2000 });
const program = spawn(process.argv[2], [`http://127.0.0.1:${port}`, '700'],
  { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
const ours = async (...words) => {
  program.stdin.write(`${words.join(' ')}\n`);
  const { value, done } = await lines.next();
  if (done) throw new Error('the adapter ended');
  return JSON.parse(value);
};
const recorded = async (f) => { seen = []; try { await f(); } catch { /* judged elsewhere */ } return seen; };

// ---- the same requests
const differences = {
  agent: 'each names itself',
  telemetry: 'ours says nothing about the machine it runs on',
};
const judged = (r) => Object.fromEntries(Object.entries(r).filter(([k]) => !(k in differences)));

const create = { amount: 1250, currency: 'usd', capture_method: 'automatic',
  automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  metadata: { order_id: ORDER }, description: `Order ${ORDER}` };
const pi = theirs.paymentIntents;
const operations = [
  ['create', () => pi.create(create, { idempotencyKey: ORDER }), ['create', ORDER, 1250, 'USD', '-']],
  ['create, with an address', () => pi.create({ ...create, receipt_email: 'a+b@köln.example' },
    { idempotencyKey: ORDER }), ['create', ORDER, 1250, 'USD', 'a+b@köln.example']],
  ['create, without decimals', () => pi.create({ ...create, amount: 500, currency: 'jpy' },
    { idempotencyKey: ORDER }), ['create', ORDER, 500, 'JPY', '-']],
  ['confirm', () => pi.confirm('pi_3Test', { payment_method: 'pm_card_visa', error_on_requires_action: true },
    { idempotencyKey: `${ORDER}:1` }), ['confirm', ORDER, 'pi_3Test', 1, 'pm_card_visa']],
  ['confirm, second attempt, by a confirmation token', () => pi.confirm('pi_3Test',
    { confirmation_token: 'ctoken_1', error_on_requires_action: true },
    { idempotencyKey: `${ORDER}:2` }), ['confirm', ORDER, 'pi_3Test', 2, 'ctoken_1']],
  ['look', () => pi.retrieve('pi_3Test', { expand: ['latest_charge'] }), ['look', 'pi_3Test']],
  ['find', () => pi.search({ query: `metadata['order_id']:'${ORDER}'`, limit: 10 }), ['find', ORDER]],
  ['cancel', () => pi.cancel('pi_3Test', { cancellation_reason: 'abandoned' }), ['cancel', ORDER, 'pi_3Test']],
  ['refund', () => theirs.refunds.create({ payment_intent: 'pi_3Test', metadata: { order_id: ORDER } },
    { idempotencyKey: `${ORDER}:refund` }), ['refund', ORDER, 'pi_3Test']],
];
for (const [name, theirCall, ourCall] of operations) {
  // expand[0] or expand[]: Stripe takes both (its documentation writes the second).
  const plain = (r) => ({ ...judged(r), query: r.query.map(([k, v]) => [k.replace(/\[\d+\]$/, '[]'), v]),
    // A GET without a body: the client still names a type for it.
    type: r.method === 'GET' ? '' : r.type });
  const want = (await recorded(theirCall)).map(plain);
  const got = (await recorded(() => ours(...ourCall))).map(plain);
  if (want.length !== 1) check(`${name}: one request of theirs`, `${want.length}`);
  same(`${name}: the same request`, got, want);
}
same('the key is sent as a bearer token, the version as said',
  seen.map((r) => [r.authorization, r.version]), [['Bearer sk_test_x', VERSION]]);
{ // The comparison can fail.
  const [a] = await recorded(() => pi.cancel('pi_3Test'));
  const [b] = await recorded(() => ours('cancel', ORDER, 'pi_3Test'));
  check('a request that differs is seen to', JSON.stringify(judged(a)) === JSON.stringify(judged(b)) ? 'it is not' : '');
}

// ---- documented answers (https://docs.stripe.com/api/errors)
const declined = error('card_error', 'card_declined', 'Your card was declined.',
  { decline_code: 'insufficient_funds', payment_intent: intent() });
const confirm = ['confirm', ORDER, 'pi_3Test', 1, 'pm_card_visa'];
const state = error('invalid_request_error', 'payment_intent_unexpected_state', 'You cannot cancel this PaymentIntent');
const charge = (back) => ({ id: 'ch_1', object: 'charge', amount_refunded: back });
const answers = [
  // name, answer, call, what ours says, the npm client's error type (if it is one)
  ['paid', { status: 200, body: intent({ status: 'succeeded' }) }, confirm, { rc: 'ok', outcome: 'paid', amount: 1250 }],
  ['402: declined', { status: 402, body: declined }, confirm,
    { rc: 'ok', outcome: 'declined', error: 'Your card was declined.' }, 'StripeCardError'],
  ['402: the bank wants to ask', { status: 402, body: error('card_error', 'authentication_required', 'Please authenticate.') },
    confirm, { rc: 'ok', outcome: 'declined', error: 'Please authenticate.' }, 'StripeCardError'],
  ['requires_action is a decline', { status: 200, body: intent({ status: 'requires_action' }) }, confirm, { rc: 'ok', outcome: 'declined' }],
  ['processing is not decided', { status: 200, body: intent({ status: 'processing' }) }, confirm, { rc: 'ok', outcome: 'pending' }],
  ['a status of tomorrow is not decided', { status: 200, body: intent({ status: 'levitating' }) }, confirm, { rc: 'ok', outcome: 'pending' }],
  ['409: the key is in use', { status: 409, body: error('idempotency_error', 'idempotency_key_in_use', 'There is currently another in-progress request') },
    confirm, { rc: 'retry' }, 'StripeIdempotencyError'],
  ['409: a lock', { status: 409, body: error('invalid_request_error', 'lock_timeout', 'This object cannot be accessed right now') },
    confirm, { rc: 'retry' }, true],
  ['429: too many', { status: 429, body: error('invalid_request_error', 'rate_limit', 'Too many requests') },
    confirm, { rc: 'retry' }, 'StripeRateLimitError'],
  ['500', { status: 500, body: error('api_error', '', 'An unknown error occurred') }, confirm, { rc: 'retry' }, 'StripeAPIError'],
  ['503, from somebody in between', { status: 503, raw: '<html>busy</html>' }, confirm, { rc: 'retry' }, true],
  ['200, and no JSON', { status: 200, raw: 'ok' }, confirm, { rc: 'retry' }, true],
  ['a redirect is not followed', { status: 302, raw: '', headers: { Location: 'http://127.0.0.1:1/' } }, confirm, { rc: 'retry' }],
  ['cut before the answer', { cut: 'before' }, confirm, { rc: 'retry', code: 'pay_no_answer' }, 'StripeConnectionError'],
  ['cut within the answer', { status: 200, body: intent({ status: 'succeeded' }), cut: 'within' }, confirm,
    { rc: 'retry', code: 'pay_no_answer' }], // the npm client waits for ever here
  ['no answer in time', { cut: 'never' }, confirm, { rc: 'retry', code: 'pay_no_answer' }, 'StripeConnectionError'],
  ['too much', { status: 200, raw: `"${'x'.repeat(2 << 20)}"` }, confirm, { rc: 'retry' }],
  ['400: no such card', { status: 400, body: error('invalid_request_error', 'resource_missing', 'No such PaymentMethod') },
    confirm, { rc: 'invalid', code: 'resource_missing' }, 'StripeInvalidRequestError'],
  ['400: the key was used for something else', { status: 400, body: error('idempotency_error', undefined, 'Keys for idempotent requests') },
    confirm, { rc: 'invalid', code: 'pay_key_reused' }, 'StripeIdempotencyError'],
  ['404: no such intent', { status: 404, body: error('invalid_request_error', 'resource_missing', 'No such payment_intent') },
    ['look', 'pi_3Test'], { rc: 'invalid', code: 'resource_missing' }, 'StripeInvalidRequestError'],
  ['401: the key is wrong', { status: 401, body: error('invalid_request_error', '', 'Invalid API Key provided') },
    confirm, { rc: 'fail', code: 'pay_unauthorized' }, 'StripeAuthenticationError'],
  ['403: the key may not', { status: 403, body: error('invalid_request_error', '', 'no permission') },
    confirm, { rc: 'fail', code: 'pay_unauthorized' }, 'StripePermissionError'],
  ['look: paid, and refunded in part', { status: 200, body: intent({ status: 'succeeded', latest_charge: charge(250) }) },
    ['look', 'pi_3Test'], { rc: 'ok', outcome: 'paid', refunded: 250 }],
  ['look: after a decline', { status: 200, body: intent({ last_payment_error: { message: 'Your card was declined.' } }) },
    ['look', 'pi_3Test'], { rc: 'ok', outcome: 'open', error: 'Your card was declined.' }],
  ['look: cancelled', { status: 200, body: intent({ status: 'canceled' }) }, ['look', 'pi_3Test'], { rc: 'ok', outcome: 'cancelled' }],
  ['find: none', { status: 200, body: { object: 'search_result', data: [], has_more: false } }, ['find', ORDER], { rc: 'none' }],
  ['find: another order\'s is not ours', { status: 200, body: { object: 'search_result',
    data: [intent({ metadata: { order_id: 'x' } })] } }, ['find', ORDER], { rc: 'none' }],
  ['find: the paid one first', { status: 200, body: { object: 'search_result',
    data: [intent({ id: 'pi_a' }), intent({ id: 'pi_b', status: 'succeeded' })] } }, ['find', ORDER], { rc: 'ok', id: 'pi_b', outcome: 'paid' }],
  ['cancel', { status: 200, body: intent({ status: 'canceled' }) }, ['cancel', ORDER, 'pi_3Test'], { rc: 'ok', outcome: 'cancelled' }],
  ['cancel: too late, it is paid', [{ status: 400, body: state }, { status: 200, body: intent({ status: 'succeeded' }) }],
    ['cancel', ORDER, 'pi_3Test'], { rc: 'ok', outcome: 'paid' }],
  ['cancel: under way', [{ status: 400, body: state }, { status: 200, body: intent({ status: 'processing' }) }],
    ['cancel', ORDER, 'pi_3Test'], { rc: 'ok', outcome: 'pending' }],
  ['cancel: too late, and no answer how', [{ status: 400, body: state }, { cut: 'before' }], ['cancel', ORDER, 'pi_3Test'], { rc: 'retry' }],
  ['refund', { status: 200, body: { id: 're_1', object: 'refund', status: 'succeeded', amount: 1250 } },
    ['refund', ORDER, 'pi_3Test'], { rc: 'ok', outcome: 'paid', refunded: 1250 }],
  ['refund: on its way', { status: 200, body: { id: 're_1', object: 'refund', status: 'pending', amount: 1250 } },
    ['refund', ORDER, 'pi_3Test'], { rc: 'ok', refunded: 1250 }],
  ['refund: failed', { status: 200, body: { id: 're_1', object: 'refund', status: 'failed', amount: 1250 } },
    ['refund', ORDER, 'pi_3Test'], { rc: 'fail', code: 'refund_failed' }],
  ['refund: was made before', [{ status: 400, body: error('invalid_request_error', 'charge_already_refunded', 'Charge ch_1 has already been refunded.') },
    { status: 200, body: intent({ status: 'succeeded', latest_charge: charge(1250) }) }],
  ['refund', ORDER, 'pi_3Test'], { rc: 'ok', outcome: 'paid', refunded: 1250 }],
];
for (const [name, a, call, want, type] of answers) {
  answer = a;
  seen = [];
  const got = await ours(...call);
  const part = Object.fromEntries(Object.keys(want).map((k) => [k, got[k]]));
  same(name, part, want);
  if (!type) continue;
  // That the npm client knows the answer by that name says that it is Stripe's.
  seen = [];
  let says = 'no error';
  try {
    await (call[0] === 'look' ? pi.retrieve('pi_3Test') : pi.confirm('pi_3Test'));
  } catch (e) { says = e.type ?? e.constructor.name; }
  if (type === true) check(`${name}: an error to the client too`, says === 'no error' ? says : '');
  else same(`${name}: by its name`, says, type);
}
// After all that the adapter still works, on a connection of its own.
answer = { status: 200, body: intent({ status: 'succeeded' }) };
same('and it goes on', (await ours('look', 'pi_3Test')).outcome, 'paid');

program.stdin.end();
await new Promise((ok) => { program.on('exit', ok); });
server.closeAllConnections();
server.close();
console.log(`1..${n}\n# ${n - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
