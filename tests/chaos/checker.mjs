// checker.mjs: what is true after a sale, read from PostgreSQL, Redis and the
// provider's books alone (and the maildir, and what buyers were answered).
//   checker.mjs SALE COOKIES ANSWERS MAILDIR armed|closed
// Environment: DATABASE_URL (as psql takes it), REDIS_PORT, STOCK (of the
// variant before the sale was opened). A line for each fault; the last line sums
// up; exit 1 where there was one.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';

const [sale, cookieFile, answerFile, maildir, state] = process.argv.slice(2);
const faults = [];
const fault = (what) => faults.push(what);

function sql(query) {
  const text = execFileSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', process.env.DATABASE_URL,
    '-c', `SELECT coalesce(json_agg(t), '[]') FROM (${query}) t`], { maxBuffer: 1 << 28 });
  return JSON.parse(text.toString());
}
function redis(...args) {
  const text = execFileSync('redis-cli', ['-p', process.env.REDIS_PORT, '--json', ...args],
    { maxBuffer: 1 << 28 });
  return JSON.parse(text.toString());
}
const taskId = (type, key) => createHash('sha256').update(`${type}\0${key}`).digest('hex').slice(0, 32);

const items = sql(`SELECT id, variant_id, allotment, per_buyer, state, epoch FROM sale_item
  WHERE sale_id = ${Number(sale)}`);
const orders = sql(`SELECT o.id, o.customer_id, o.status, o.reason, o.total, o.sale_item_id AS item,
  o.email, (SELECT count(*) FROM order_line l WHERE l.order_id = o.id) AS lines
  FROM orders o WHERE o.sale_item_id IN (SELECT id FROM sale_item WHERE sale_id = ${Number(sale)})`);
const byId = new Map(orders.map((o) => [o.id, o]));
const live = (o) => ['reserved', 'paid', 'fulfilled'].includes(o.status);
const sum = { sold: 0, left: 0, orders: orders.length, paid: 0, cancelled: 0, open: 0 };

for (const o of orders) {
  if (o.status === 'paid') sum.paid++;
  else if (o.status === 'cancelled') sum.cancelled++;
  else sum.open++;
  if (o.lines !== 1) fault(`order ${o.id} has ${o.lines} lines`);
}

// ---- units: sold + for sale = allotment, exactly, each number once
for (const item of items) {
  const rows = sql(`SELECT unit, order_id, buyer, slot FROM sale_unit WHERE item_id = ${item.id}`);
  const owner = new Map();
  const perBuyer = new Map();
  const sold = rows.filter((r) => r.order_id !== null);

  for (const r of rows) {
    if (owner.has(r.unit)) fault(`unit ${r.unit} is there twice: ${owner.get(r.unit)}, ${r.order_id}`);
    owner.set(r.unit, r.order_id);
    if (r.unit < 1 || r.unit > item.allotment) fault(`unit ${r.unit} is beyond the allotment`);
  }
  const unitsOf = new Map();
  for (const r of sold) {
    unitsOf.set(r.order_id, (unitsOf.get(r.order_id) ?? 0) + 1);
    perBuyer.set(r.buyer, (perBuyer.get(r.buyer) ?? 0) + 1);
    const o = byId.get(r.order_id);
    if (!o) fault(`unit ${r.unit} has an order that is not there: ${r.order_id}`);
    else if (!live(o)) fault(`unit ${r.unit}: order ${o.id} is ${o.status} and keeps it`);
    else if (String(o.customer_id) !== r.buyer) fault(`unit ${r.unit}: buyer ${r.buyer} is not the order's`);
  }
  for (const [buyer, n] of perBuyer)
    if (n > item.per_buyer) fault(`buyer ${buyer} has ${n} units, the limit is ${item.per_buyer}`);
  const liveOrders = orders.filter((o) => o.item === item.id && live(o));
  for (const o of liveOrders)
    if (unitsOf.get(o.id) !== 1) fault(`order ${o.id} is ${o.status} with ${unitsOf.get(o.id) ?? 0} units`);
  const byBuyer = new Map();
  for (const o of liveOrders) byBuyer.set(o.customer_id, (byBuyer.get(o.customer_id) ?? 0) + 1);
  for (const [buyer, n] of byBuyer)
    if (n > item.per_buyer) fault(`buyer ${buyer} has ${n} orders, the limit is ${item.per_buyer}`);
  if (liveOrders.length > item.allotment)
    fault(`OVERSOLD: ${liveOrders.length} live orders for ${item.allotment} units`);
  sum.sold += sold.length;

  if (state === 'closed') {
    const claimed = rows.length - sold.length;
    if (item.state !== 'closed') fault(`item ${item.id} is ${item.state}`);
    if (sold.length + claimed !== item.allotment)
      fault(`closed: ${sold.length} sold + ${claimed} claimed is not ${item.allotment}`);
    sum.left += claimed;
    const stock = sql(`SELECT stock FROM variant WHERE id = ${item.variant_id}`)[0].stock;
    if (stock + sold.length !== Number(process.env.STOCK))
      fault(`closed: ${stock} in stock + ${sold.length} sold is not ${process.env.STOCK}`);
    continue;
  }
  // What Redis would still hand out: fresh numbers and those given back.
  const stock = sql(`SELECT stock FROM variant WHERE id = ${item.variant_id}`)[0].stock;
  if (stock + item.allotment !== Number(process.env.STOCK))
    fault(`${stock} in stock + an allotment of ${item.allotment} is not ${process.env.STOCK}`);
  const key = `stock:{${sale}:${item.variant_id}}`;
  const main = redis('HGETALL', key);
  const free = redis('ZRANGEBYSCORE', `${key}:free`, '1', '+inf').map(Number);
  const next = Number(main.next);
  if (main.state !== 'armed') fault(`item ${item.id} is not armed: ${main.state}`);
  if (Number(main.epoch) !== item.epoch) fault(`item ${item.id}: epoch ${main.epoch}, not ${item.epoch}`);
  const forSale = new Set(free);
  for (let u = next; u <= item.allotment; u++) forSale.add(u);
  for (const u of forSale) if (owner.has(u)) fault(`unit ${u} is sold and for sale`);
  for (let u = 1; u <= item.allotment; u++)
    if (!owner.has(u) && !forSale.has(u)) fault(`unit ${u} is neither sold nor for sale: lost`);
  if (forSale.size + sold.length !== item.allotment)
    fault(`${sold.length} sold + ${forSale.size} for sale is not ${item.allotment}`);
  sum.left += forSale.size;
  // Its holds are the orders, and what counts against a buyer is what he has.
  const { '#': e1, ...holds } = redis('HGETALL', `${key}:holds`);
  const { '#': e2, ...units } = redis('HGETALL', `${key}:units`);
  const { '#': e3, ...buyers } = redis('HGETALL', `${key}:buyers`);
  for (const e of [e1, e2, e3])
    if (Number(e) !== item.epoch) fault(`item ${item.id}: a key with epoch ${e}`);
  for (const [id, hold] of Object.entries(holds)) {
    const [unit, slot] = hold.split(' ').map(Number);
    const r = sold.find((x) => x.order_id === id);
    if (!r) fault(`hold ${id} of unit ${unit} has no live order`);
    else if (r.unit !== unit || r.slot !== slot)
      fault(`hold ${id} is unit ${unit} slot ${slot}, the order unit ${r.unit} slot ${r.slot}`);
  }
  for (const [unit, id] of Object.entries(units))
    if (owner.get(Number(unit)) !== id) fault(`unit ${unit} is filed as ${id}'s, it is ${owner.get(Number(unit))}'s`);
  for (const r of sold) if (!(r.order_id in holds)) fault(`order ${r.order_id}: the counter does not know`);
  const slotsOf = new Map();
  for (const r of sold) slotsOf.set(r.buyer, [...(slotsOf.get(r.buyer) ?? []), r.slot]);
  for (const buyer of new Set([...slotsOf.keys(), ...Object.keys(buyers)])) {
    const has = (slotsOf.get(buyer) ?? []).sort((a, b) => a - b).join();
    const counted = (buyers[buyer] ?? '').split(',').filter(Boolean).map(Number).sort((a, b) => a - b).join();
    if (has !== counted) fault(`buyer ${buyer}: slots [${counted}] count, he has [${has}]`);
  }
}

// ---- every 200 answer has its order, and it is that buyer's
const cookies = fs.readFileSync(cookieFile, 'utf8').trim().split('\n');
const people = new Map(sql(`SELECT encode(token_hash, 'hex') AS hash, customer_id FROM session`)
  .map((s) => [s.hash, s.customer_id]));
const answers = fs.readFileSync(answerFile, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l));
const keyOf = new Map();
for (const a of answers) {
  const o = byId.get(a.orderId);
  const who = people.get(createHash('sha256').update(cookies[a.buyer]).digest('hex'));
  if (!o) fault(`answered 200, no such order: ${a.orderId} (${a.key})`);
  else if (o.customer_id !== who) fault(`order ${o.id} is customer ${o.customer_id}'s, not ${who}'s`);
  if (keyOf.has(a.orderId)) fault(`order ${a.orderId} was the answer to two keys`);
  keyOf.set(a.orderId, a.key);
}
sum.answered = answers.length;

// ---- money: the provider's books, by the key of the order
const books = new Map();
for (const b of sql(`SELECT id, charges, status, refunded, amount, order_key FROM sandbox_intent`)) {
  books.set(b.order_key, b);
  if (b.charges > 1) fault(`charged ${b.charges} times: intent ${b.id}`);
  if (!byId.has(b.order_key)) fault(`intent ${b.id} is of no order`);
}
const ours = new Map(sql(`SELECT order_id, intent, status, refunded FROM payment`).map((p) => [p.order_id, p]));
for (const o of orders) {
  const b = books.get(o.id);
  const p = ours.get(o.id);
  const kept = b ? b.charges * b.amount - b.refunded : 0;
  if (p && p.intent !== '' && (!b || b.id !== p.intent)) fault(`order ${o.id}: payment ${p.intent} is not the provider's`);
  if (['paid', 'fulfilled'].includes(o.status)) {
    if (!b || b.charges !== 1) fault(`order ${o.id} is ${o.status} with ${b ? b.charges : 0} charges`);
    else if (kept !== o.total) fault(`order ${o.id} is ${o.status}, kept ${kept} of ${o.total}`);
    if (!p || p.status !== 'captured') fault(`order ${o.id} is ${o.status}, its payment ${p?.status}`);
  } else if (['cancelled', 'refunded'].includes(o.status)) {
    if (kept !== 0) fault(`order ${o.id} is ${o.status} and ${kept} was kept`);
    if (b && b.status === 'open') fault(`order ${o.id} is ${o.status}, its intent can still be paid`);
    if (p && !['cancelled', 'refunded'].includes(p.status)) fault(`order ${o.id} is ${o.status}, its payment ${p.status}`);
    if (b?.charges) sum.refunded = (sum.refunded ?? 0) + 1;
  }
}

// ---- every order's e-mails, each once: by what they say, not by their names
const subjects = [['confirmation', / we have your order /], ['paid', / is paid$/],
  ['cancelled', / was cancelled$/], ['declined', / did not go through$/]];
const mails = new Map();
sum.mails = 0;
for (const d of ['new', 'cur']) {
  let names = [];
  try { names = fs.readdirSync(`${maildir}/${d}`); } catch { fault(`no ${maildir}/${d}`); }
  for (const f of names) {
    const text = fs.readFileSync(`${maildir}/${d}/${f}`, 'utf8');
    const subject = /^Subject: (.*(?:\r?\n[ \t].*)*)/m.exec(text)?.[1].replace(/\r?\n/g, '') ?? '';
    const kind = subjects.find(([, s]) => s.test(subject))?.[0];
    const id = /\/orders\/([0-9a-f]{32})/.exec(text)?.[1] ?? /^Order ([0-9a-f]{32})/m.exec(text)?.[1];
    if (!kind || !byId.has(id)) { fault(`mail ${f}: ${subject} of order ${id}`); continue; }
    mails.set(`${kind} ${id}`, (mails.get(`${kind} ${id}`) ?? 0) + 1);
    sum.mails++;
    if (f.split(':')[0] === taskId('order_confirmation', id) && kind !== 'confirmation')
      fault(`mail ${f} is no confirmation: ${subject}`);
  }
}
for (const o of orders) {
  const n = (kind) => mails.get(`${kind} ${o.id}`) ?? 0;
  if (n('confirmation') !== 1) fault(`order ${o.id}: confirmed by e-mail ${n('confirmation')} times`);
  if (n('paid') !== (o.status === 'paid' ? 1 : 0)) fault(`order ${o.id} is ${o.status}: ${n('paid')} e-mails that it is paid`);
  if (n('cancelled') !== (o.status === 'cancelled' ? 1 : 0))
    fault(`order ${o.id} is ${o.status}: ${n('cancelled')} e-mails that it was cancelled`);
}

// ---- nothing left lying
const waiting = sql(`SELECT queue, type, count(*) FROM outbox WHERE visible_at < 'infinity' GROUP BY 1, 2`);
for (const w of waiting) fault(`outbox: ${w.count} of ${w.type} not done`);
for (const d of sql(`SELECT queue, type, error, count(*) FROM dead_task GROUP BY 1, 2, 3 LIMIT 10`))
  fault(`dead letters: ${d.count} of ${d.type}: ${d.error}`);
for (const p of sql(`SELECT order_id FROM payment_attempt WHERE outcome = 'unknown' LIMIT 10`))
  fault(`order ${p.order_id}: an attempt of unknown outcome`);

for (const f of faults.slice(0, 40)) console.log(`fault: ${f}`);
console.log(JSON.stringify({ ...sum, faults: faults.length }));
process.exit(faults.length === 0 ? 0 : 1);
