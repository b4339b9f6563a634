// buyers.mjs: people who buy in a sale, through nginx, whatever fails.
//   buyers.mjs URL COOKIES SALE PRODUCT SEED OUT SECONDS
// COOKIES: a file with a session cookie's value a line, a buyer each. Every
// buyer wants one to three units, each under an Idempotency-Key of its own, and
// asks again with the same key after no answer, 5xx and sometimes after 200,
// now and then twice at the same moment. OUT: a line of JSON for each answer
// that counts: {"buyer","key","orderId","stock"}. The last line of stdout sums
// up; exit 1 where an answer was wrong in itself.
import fs from 'node:fs';
import http from 'node:http';

const [url, cookieFile, sale, product, seed, out, seconds] = process.argv.slice(2);
const cookies = fs.readFileSync(cookieFile, 'utf8').trim().split('\n');
const agent = new http.Agent({ keepAlive: true, maxSockets: 48 });
const end = Date.now() + Number(seconds) * 1000;
const log = fs.createWriteStream(out);
const wrong = [];
const sum = { asked: 0, sold: 0, again: 0, sold_out: 0, limit: 0, busy: 0, none: 0, gave_up: 0 };

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

function ask(cookie, key, token) {
  sum.asked++;
  const body = JSON.stringify({ saleId: Number(sale), productId: Number(product),
    payment: { token } });
  return new Promise((resolve) => {
    const rq = http.request(`${url}/api/flash-sale/purchase`, { method: 'POST', agent, timeout: 10000,
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key,
        'Content-Length': Buffer.byteLength(body), Cookie: `souk_session=${cookie}` } }, (rs) => {
      const parts = [];
      rs.on('data', (d) => parts.push(d));
      rs.on('error', () => resolve({ status: 0 }));
      rs.on('end', () => {
        let json = {};
        try { json = JSON.parse(Buffer.concat(parts).toString()); } catch { /* nginx's own page */ }
        resolve({ status: rs.statusCode, json });
      });
    });
    rq.on('timeout', () => rq.destroy(new Error('timeout')));
    rq.on('error', () => resolve({ status: 0 }));
    rq.end(body);
  });
}

// One unit, under one key, until there is an answer that counts.
async function want(buyer, n, rnd) {
  const key = `chaos-${seed}-${buyer}-${n}-${Math.floor(rnd() * 1e9)}`;
  const luck = rnd();
  const token = luck < 0.82 ? 'tok_ok' : luck < 0.92 ? 'tok_declined' :
    luck < 0.97 ? 'tok_slow' : 'tok_lost';
  let order = null;
  const got = (rs) => {
    if (rs.status !== 200) return;
    if (order !== null && order !== rs.json.orderId)
      wrong.push(`${key}: order ${order}, then ${rs.json.orderId}`);
    if (order === null) {
      sum.sold++;
      log.write(`${JSON.stringify({ buyer, key, orderId: rs.json.orderId, stock: rs.json.stock })}\n`);
    } else sum.again++;
    order = rs.json.orderId;
  };
  for (let tries = 0; tries < 60 && Date.now() < end; tries++) {
    const twice = rnd() < 0.1;
    const answers = await Promise.all(twice
      ? [ask(cookies[buyer], key, token), ask(cookies[buyer], key, token)]
      : [ask(cookies[buyer], key, token)]);
    answers.forEach(got);
    const rs = answers.find((x) => x.status === 200) ?? answers[0];
    if (rs.status === 200) {
      if (rnd() < 0.3) got(await ask(cookies[buyer], key, token));
      return true;
    }
    if (rs.status === 400 && rs.json.code === 'sold_out') {
      sum.sold_out++;
      if (rnd() < 0.7) return false;
      await sleep(200 + rnd() * 1500); // a unit may come back
    } else if (rs.status === 400 && rs.json.code === 'limit_reached') {
      sum.limit++;
      return false;
    } else if (rs.status === 503 || rs.status === 429) {
      sum.busy++;
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
    const buyer = order[next++];
    const rnd = random(Number(seed) * 100003 + buyer);
    const wants = 1 + Math.floor(rnd() * 3);
    for (let n = 0; n < wants; n++) await want(buyer, n, rnd);
  }
}
await Promise.all(Array.from({ length: 48 }, crowd));
await new Promise((r) => log.end(r));
agent.destroy();
for (const w of wrong.slice(0, 20)) console.log(`wrong: ${w}`);
console.log(JSON.stringify({ ...sum, wrong: wrong.length }));
process.exit(wrong.length === 0 ? 0 : 1);
