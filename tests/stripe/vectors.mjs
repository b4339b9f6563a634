// vectors.mjs: writes vectors.json anew. Each is an event's body, a
// Stripe-Signature header made by Stripe's own library (npm `stripe`,
// webhooks.generateTestHeaderString), the time at which it is received, and what
// that library says of it; where we differ from it, `differs` says why.
import { writeFileSync } from 'node:fs';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_x', { apiVersion: '2024-06-20' });
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const other = 'whsec_another';
const now = 1700000000;
const order = '0123456789abcdef0123456789abcdef';
const object = { id: 'pi_3Test', object: 'payment_intent', status: 'succeeded',
  metadata: { order_id: order } };
const event = (type, o = object, id = 'evt_1Test') =>
  JSON.stringify({ id, object: 'event', type, data: { object: o } });
const body = event('payment_intent.succeeded');
const header = (o = {}) => stripe.webhooks.generateTestHeaderString(
  { payload: body, secret, timestamp: now, ...o });
const v1 = (h) => h.match(/v1=[0-9a-f]+/)[0];

const cases = [
  { name: 'signed' },
  { name: 'a failed payment', body: event('payment_intent.payment_failed') },
  { name: 'a cancelled one', body: event('payment_intent.canceled') },
  { name: 'a refund: of the charge', body: event('charge.refunded',
    { id: 'ch_3Test', object: 'charge', payment_intent: 'pi_3Test', metadata: { order_id: order } }) },
  { name: 'no order in it', body: event('payment_intent.succeeded', { ...object, metadata: {} }), order: '' },
  { name: 'UTF-8, white space and a newline at the end',
    body: `${JSON.stringify({ id: 'evt_1Test', type: 'payment_intent.succeeded',
      data: { object: { ...object, description: 'Köln 東京 🛍' } } }, null, 2)}\n` },
  { name: 'a long secret', secret: `whsec_${'k'.repeat(200)}` },
  { name: 'a short secret', secret: 'x' },
  { name: 'two v1, the second is right',
    header: `t=${now},${v1(header({ secret: other }))},${v1(header())}` },
  { name: 'two v1, the first is right',
    header: `t=${now},${v1(header())},${v1(header({ secret: other }))}` },
  { name: 'a v0 beside it', header: `${header()},v0=${'0'.repeat(64)}` },
  { name: 'just in time', now: now + 300 },
  { name: 'of no concern', body: event('customer.created', { id: 'cus_1', object: 'customer' }), want: 'none' },
  { name: 'another secret', header: header({ secret: other }), want: 'refused' },
  { name: 'another body', header: header({ payload: `${body} ` }), want: 'refused' },
  { name: 'another time', header: header().replace(`t=${now}`, `t=${now + 1}`), want: 'refused' },
  { name: 'too old', now: now + 301, want: 'refused' },
  { name: 'too new', now: now - 301, want: 'refused',
    differs: 'Stripe\'s library takes events of the future; a clock that is wrong by so much is no excuse' },
  { name: 'only a v0', header: header().replace('v1=', 'v0='), want: 'refused' },
  { name: 'half a signature', header: header().slice(0, -32), want: 'refused' },
  { name: 'a digit more', header: `${header()}0`, want: 'refused' },
  { name: 'not hexadecimal', header: `t=${now},v1=${'z'.repeat(64)}`, want: 'refused' },
  { name: 'no time', header: v1(header()), want: 'refused' },
  { name: 'a time that is none', header: `t=soon,${v1(header())}`, want: 'refused' },
  { name: 'an empty header', header: '', want: 'refused' },
  { name: 'a header of other words', header: 'Bearer x', want: 'refused' },
  { name: 'signed, and no JSON', body: 'hello', want: 'invalid' },
  { name: 'signed, and no event', body: '[]', want: 'invalid' },
];

const vectors = cases.map((c) => {
  const v = { name: c.name, secret: c.secret ?? secret, body: c.body ?? body, now: c.now ?? now };
  v.header = c.header ??
    stripe.webhooks.generateTestHeaderString({ payload: v.body, secret: v.secret, timestamp: now });
  v.want = c.want ?? 'ok';
  if (v.want === 'ok') Object.assign(v, { id: 'evt_1Test', intent: 'pi_3Test', order: c.order ?? order });
  if (c.differs) v.differs = c.differs;
  // What the library says of it, so that no expectation is only ours.
  let says = 'ok';
  try {
    stripe.webhooks.signature.verifyHeader(v.body, v.header, v.secret, 300, undefined, v.now * 1000);
  } catch { says = 'refused'; }
  if ((says === 'refused') !== (v.want === 'refused') && !c.differs)
    throw new Error(`${c.name}: Stripe's library says ${says}`);
  return v;
});
const text = `${JSON.stringify(vectors, null, 1)}\n`;
const at = new URL('vectors.json', import.meta.url);
if (process.argv[2] === '--print') process.stdout.write(text);
else writeFileSync(at, text);
