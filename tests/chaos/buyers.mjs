// buyers.mjs: people who buy in a sale, through nginx, whatever fails.
//   buyers.mjs URL COOKIES SALE PRODUCT SEED OUT SECONDS ARRIVE
// COOKIES: a file with a session cookie's value a line, a buyer each. Every
// buyer wants one to three units, each under an Idempotency-Key of its own, and
// asks again with the same key after no answer, 5xx and sometimes after 200,
// now and then twice at the same moment. OUT: a line of JSON for each answer
// that counts: {"buyer","key","orderId","stock"}. The last line of stdout sums
// up; exit 1 where an answer was wrong in itself.
// They come within ARRIVE seconds, few at first (units last for
// about half of it) and ever more. Some cancel, some pay again after a decline.
import fs from 'node:fs';
import http from 'node:http';

const [url, cookieFile, sale, product, seed, out, seconds, arrive] = process.argv.slice(2);
const cookies = fs.readFileSync(cookieFile, 'utf8').trim().split('\n');
const agent = new http.Agent({ keepAlive: true, maxSockets: 96 });
const begin = Date.now();
const end = begin + Number(seconds) * 1000;
const log = fs.createWriteStream(out);
const wrong = [];
const sum = { asked: 0, got: 0, again: 0, sold_out: 0, limit: 0, ended: 0, busy: 0, slow_down: 0,
  none: 0, regretted: 0, paid_again: 0, gave_up: 0 };

// mulberry32: the same people do the same in every run of a seed.
function random(a) {
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// POST; status 0: no answer.
function post(path, cookie, key, what) {
  const body = JSON.stringify(what);
  sum.asked++;
  return new Promise((resolve) => {
    const rq = http.request(`${url}${path}`, { method: 'POST', agent, timeout: 10000,
      headers: { 'Content-Type': 'application/json', ...(key ? { 'Idempotency-Key': key } : {}),
        'Content-Length': Buffer.byteLength(body), Cookie: `souk_session=${cookie}` } }, (rs) => {
      const parts = [];
      rs.on('data', (d) => parts.push(d));
      rs.on('error', () => resolve({ status: 0, json: {} }));
      rs.on('end', () => {
        let json = {};
        try { json = JSON.parse(Buffer.concat(parts).toString()); } catch { /* nginx's own page */ }
        resolve({ status: rs.statusCode, json });
      });
    });
    rq.on('timeout', () => rq.destroy(new Error('timeout')));
    rq.on('error', () => resolve({ status: 0, json: {} }));
    rq.end(body);
  });
}
const ask = (cookie, key, token) => post('/api/flash-sale/purchase', cookie, key,
  { saleId: Number(sale), productId: Number(product), payment: { token } });

const away = (rs) => [0, 502, 503, 504, 429].includes(rs.status);

// What an order's buyer may do next. Whatever comes of it must be an answer.
async function regret(buyer, id, declined, rnd) {
  if (rnd() < 0.12) {
    await sleep(rnd() * 300);
    const rs = await post(`/api/orders/${id}/cancel`, cookies[buyer], null, {});
    if (rs.status === 200) sum.regretted++;
    else if (!away(rs) && !(rs.status === 409 && rs.json.code === 'wrong_state'))
      wrong.push(`cancel ${id}: ${rs.status} ${JSON.stringify(rs.json)}`);
  } else if (declined && rnd() < 0.6) {
    await sleep(300 + rnd() * 1500);
    const rs = await post(`/api/orders/${id}/payment`, cookies[buyer], null,
      { payment: { token: 'tok_ok' } });
    if (rs.status === 200) sum.paid_again++;
    else if (!away(rs) && !(rs.status === 409 &&
      ['wrong_state', 'payment_in_progress'].includes(rs.json.code)))
      wrong.push(`pay ${id}: ${rs.status} ${JSON.stringify(rs.json)}`);
  }
}

// One unit, under one key, until there is an answer that counts.
async function want(buyer, n, rnd) {
  const key = `chaos-${seed}-${buyer}-${n}-${Math.floor(rnd() * 1e9)}`;
  const luck = rnd();
  const token = luck < 0.85 ? 'tok_ok' : luck < 0.95 ? 'tok_declined' :
    luck < 0.98 ? 'tok_slow' : 'tok_lost';
  let order = null;
  const got = (rs) => {
    if (rs.status !== 200) return;
    if (order !== null && order !== rs.json.orderId)
      wrong.push(`${key}: order ${order}, then ${rs.json.orderId}`);
    if (order === null) {
      sum.got++;
      log.write(`${JSON.stringify({ buyer, key, orderId: rs.json.orderId, stock: rs.json.stock })}\n`);
    } else sum.again++;
    order = rs.json.orderId;
  };
  for (let tries = 0; tries < 60 && Date.now() < end; tries++) {
    const at_once = rnd() < 0.75 ? 1 : 2 + Math.floor(rnd() * 2);
    const answers = await Promise.all(Array.from({ length: at_once },
      () => ask(cookies[buyer], key, token)));
    answers.forEach(got);
    const rs = answers.find((x) => x.status === 200) ?? answers[0];
    if (rs.status === 200) {
      if (rnd() < 0.3) got(await ask(cookies[buyer], key, token));
      await regret(buyer, order, token === 'tok_declined', rnd);
      if (rnd() < 0.1) got(await ask(cookies[buyer], key, token));
      return true;
    }
    if (rs.status === 400 && rs.json.code === 'sold_out') {
      sum.sold_out++;
      if (rnd() < 0.7) return false;
      await sleep(200 + rnd() * 1500); // a unit may come back
    } else if (rs.status === 400 && rs.json.code === 'limit_reached') {
      sum.limit++;
      return false;
    } else if (rs.status === 400 && rs.json.code === 'sale_ended') {
      sum.ended++;
      return false;
    } else if (rs.status === 503 || rs.status === 429) {
      if (rs.status === 503) sum.busy++;
      else sum.slow_down++;
      await sleep(50 + rnd() * 400);
    } else if (rs.status === 0 || rs.status === 502 || rs.status === 504) {
      sum.none++;
      await sleep(50 + rnd() * 400);
    } else {
      wrong.push(`${key}: ${rs.status} ${JSON.stringify(rs.json)}`);
      await sleep(300);
    }
  }
  sum.gave_up++;
  return false;
}

let next = 0;
const order = [...cookies.keys()];
const shuffle = random(Number(seed));
for (let i = order.length - 1; i > 0; i--) {
  const k = Math.floor(shuffle() * (i + 1));
  [order[i], order[k]] = [order[k], order[i]];
}
async function crowd() {
  while (next < order.length && Date.now() < end) {
    const place = next++;
    const buyer = order[place];
    const rnd = random(Number(seed) * 100003 + buyer);
    const wants = 1 + Math.floor(rnd() * 3);
    const due = begin + Math.cbrt((place + 1) / order.length) * Number(arrive) * 1000;
    while (Date.now() < due) await sleep(due - Date.now());
    for (let n = 0; n < wants; n++) await want(buyer, n, rnd);
  }
}
await Promise.all(Array.from({ length: 64 }, crowd));
await new Promise((r) => log.end(r));
agent.destroy();
for (const w of wrong.slice(0, 20)) console.log(`wrong: ${w}`);
console.log(JSON.stringify({ ...sum, wrong: wrong.length }));
process.exit(wrong.length === 0 ? 0 : 1);
