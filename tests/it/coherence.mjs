// coherence.mjs URL TOKEN ID SECONDS: change a product's title again and again
// while others read every page that shows it. Whoever asks more than a second
// after a change was answered must not be shown what was before.
import http from 'node:http';

const [url, token, id, seconds] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const end = Date.now() + Number(seconds) * 1000;
const bounds = []; // [time answered, number], of every change
let reads = 0, failed = 0, changes = 0;
const old = new Map();

function ask(method, path, headers = {}, body) {
  return new Promise((resolve) => {
    const rq = http.request(url + path, { method, headers, agent, timeout: 15000 }, (rs) => {
      const parts = [];
      rs.on('data', (d) => parts.push(d));
      rs.on('end', () => resolve({ status: rs.statusCode, text: Buffer.concat(parts).toString() }));
    });
    rq.on('timeout', () => rq.destroy(new Error('timeout')));
    rq.on('error', (e) => resolve({ status: 0, text: String(e) }));
    rq.end(body);
  });
}

// The newest change that was answered at least a second before now.
function bound(now) {
  for (let i = bounds.length - 1; i >= 0; i--)
    if (bounds[i][0] <= now - 1000) return bounds[i][1];
  return 0;
}

async function write() {
  for (let n = 1; Date.now() < end; n++) {
    const rs = await ask('PUT', `/api/products/${id}`,
      { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      JSON.stringify({ title: `Coherent ${n} thing` }));
    if (rs.status === 200) { bounds.push([Date.now(), n]); changes++; }
    else if (process.env.KILLS === undefined) failed++;
    await new Promise((r) => setTimeout(r, 60 + Math.random() * 200));
  }
}

const paths = [`/products/${id}`, `/api/products/${id}`, '/', '/products', '/api/products',
  '/products?q=coherent', '/api/products?q=coherent'];

async function read(k) {
  while (Date.now() < end) {
    const path = paths[k++ % paths.length];
    const least = bound(Date.now());
    const rs = await ask('GET', path);
    reads++;
    if (rs.status !== 200) { if (process.env.KILLS === undefined) failed++; continue; }
    const m = /Coherent (\d+) thing/.exec(rs.text);
    const seen = m ? Number(m[1]) : 0;
    if (seen < least) old.set(path, (old.get(path) ?? 0) + 1);
  }
}

const readers = [];
for (let i = 0; i < 12; i++) readers.push(read(i));
await Promise.all([write(), ...readers]);
agent.destroy();
console.log(JSON.stringify({ changes, reads, failed, old: Object.fromEntries(old) }));
process.exit(old.size === 0 && failed === 0 && changes > 5 ? 0 : 1);
