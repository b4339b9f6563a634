// redis_switch.mjs PORT PORT-A PORT-B: an address that moves, as a fail-over
// moves it: connections to PORT go to A after SIGUSR1 and to B after SIGUSR2
// (at first A); those that stand are cut.
import net from 'node:net';

const [port, a, b] = process.argv.slice(2).map(Number);
const open = new Set();
let target = a;

function turn(to) {
  target = to;
  for (const s of open) s.destroy();
}
process.on('SIGUSR1', () => turn(a));
process.on('SIGUSR2', () => turn(b));

net.createServer((near) => {
  const far = net.connect(target, '127.0.0.1');
  for (const s of [near, far]) {
    s.setNoDelay(true);
    open.add(s);
    s.on('close', () => { open.delete(s); near.destroy(); far.destroy(); });
    s.on('error', () => {});
  }
  near.pipe(far);
  far.pipe(near);
}).listen(port, '127.0.0.1', 1024);
