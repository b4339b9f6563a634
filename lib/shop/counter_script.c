/*
 * counter_script - what must happen at once in Redis (DESIGN 5.1).
 *
 *	1 stock:{S:V}          epoch, state (armed|disarmed|closed), next,
 *	                       allotment, limit, starts, ends (ms), run_id,
 *	                       replid, item, product, rest (what the product's
 *	                       other variants add to its figure), others (their
 *	                       part of its "variants"), version (last told)
 *	2 stock:{S:V}:free     zset: unit by unit; "#": -epoch
 *	3 stock:{S:V}:buyers   hash: buyer -> "1,3", his slots; "": known
 *	4 stock:{S:V}:holds    hash: id -> "unit slot ms buyer"
 *	5 stock:{S:V}:units    hash: unit -> id of its hold
 *	6 stock:{S:V}:open     zset: id by ms: not yet seen to have its order
 *
 * All six are KEYS of every script. "#" is a member of each hash too: the
 * epoch.
 *
 * Every number of 1..next-1 is either free or held, or lost (a process died
 * between two servers); the reconciler finds those. Numbers in Lua are doubles:
 * exact to 2^53, but ".." writes no more than 14 digits, so what may be longer
 * is formatted.
 *
 * INFO of two sections costs about 5 us. Keeping what a connection's greeting
 * said instead was dropped: behind a proxy or after a fail-over by REPLICAOF
 * the same connection leads to another history.
 */
#include "shop/counter_int.h"

#define READ                                                                   \
	"local K = KEYS\n"                                                     \
	"local m = redis.call('HMGET', K[1], 'epoch', 'state', 'run_id',\n"    \
	"    'replid', 'next', 'allotment', 'limit', 'starts', 'ends',\n"      \
	"    'product', 'rest', 'others', 'version')\n"                        \
	"local epoch, state = m[1] or '0', m[2]\n"                             \
	"local fresh = tonumber(m[5] or 1)\n"

/* Who this server is. */
#define INFO                                                                   \
	"local function info(section, name)\n"                                 \
	"  return string.match(redis.call('INFO', section),\n"                 \
	"      name .. ':(%x+)')\n"                                            \
	"end\n"                                                                \
	"local function identity()\n"                                          \
	"  return info('server', 'run_id') .. ' ' ..\n"                        \
	"      info('replication', 'master_replid')\n"                         \
	"end\n"

/* Whether this is the server that the counter was armed on. INFO ends its lines
 * with CR LF; a plain search costs a tenth of a pattern's. */
#define SAME                                                                   \
	"local function names(section, name, value)\n"                         \
	"  return string.find(redis.call('INFO', section),\n"                  \
	"      '\\n' .. name .. ':' .. (value or '') .. '\\r', 1, true)\n"     \
	"end\n"                                                                \
	"local function same()\n"                                              \
	"  return names('server', 'run_id', m[3]) and\n"                       \
	"      names('replication', 'master_replid', m[4])\n"                  \
	"end\n"

/* Whether all is as it was armed. */
#define WHOLE                                                                  \
	SAME                                                                   \
	"local function whole()\n"                                             \
	"  local mark = -tonumber(epoch)\n"                                    \
	"  return state == 'armed' and same() and\n"                           \
	"      redis.call('HGET', K[3], '#') == epoch and\n"                   \
	"      redis.call('HGET', K[4], '#') == epoch and\n"                   \
	"      redis.call('HGET', K[5], '#') == epoch and\n"                   \
	"      tonumber(redis.call('ZSCORE', K[2], '#') or 0) == mark and\n"   \
	"      tonumber(redis.call('ZSCORE', K[6], '#') or 0) == mark\n"       \
	"end\n"

/* What is for sale: allotment - (next - 1) + free, "#" not counted. */
#define LEFT                                                                   \
	"local function count()\n"                                             \
	"  return m[6] - fresh + redis.call('ZCARD', K[2])\n"                  \
	"end\n"

/*
 * The product's figure to the world (DESIGN 4.3), and `next` stored. What goes
 * into a command is text already: Redis writes a number with 17 digits of a
 * double, which costs more than finding a field.
 */
#define TELL                                                                   \
	"local function tell(left, t)\n"                                       \
	"  t = t or redis.call('TIME')\n"                                      \
	"  local v = t[1] .. string.format('%06d', t[2])\n"                    \
	"  if m[13] and tonumber(m[13]) >= tonumber(v) then\n"                 \
	"    v = string.format('%.0f', m[13] + 1)\n"                           \
	"  end\n"                                                              \
	"  local sale, variant = string.match(K[1], '{(%d+):(%d+)}')\n"        \
	"  local others = m[12] or ''\n"                                       \
	"  if others ~= '' then others = ',' .. others end\n"                  \
	"  redis.call('HSET', K[1], 'next', string.format('%d', fresh),\n"     \
	"      'version', v)\n"                                                \
	"  redis.call('PUBLISH', 'product:' .. m[10] .. ':update',\n"          \
	"      '{\"productId\":' .. m[10] .. ',\"stock\":' ..\n"               \
	"      string.format('%.0f', left + m[11]) .. ',\"saleId\":' ..\n"     \
	"      sale .. ',\"variants\":[{\"variantId\":' .. variant ..\n"       \
	"      ',\"stock\":' .. string.format('%d', left) .. '}' ..\n"         \
	"      others .. '],\"version\":' .. v .. '}')\n"                      \
	"end\n"                                                                \
	"local function again()\n"                                             \
	"  redis.call('PUBLISH', 'sale:again',\n"                              \
	"      string.match(K[1], '{(.*)}'))\n"                                \
	"end\n"

/* Holds and slots. Who had one stays known: "". */
#define DROP                                                                   \
	"local function add_slot(buyer, slot)\n"                               \
	"  local had = redis.call('HGET', K[3], buyer) or ''\n"                \
	"  for s in string.gmatch(had, '%d+') do\n"                            \
	"    if s == slot then return end\n"                                   \
	"  end\n"                                                              \
	"  if had ~= '' then slot = had .. ',' .. slot end\n"                  \
	"  redis.call('HSET', K[3], buyer, slot)\n"                            \
	"end\n"                                                                \
	"local function drop(id)\n"                                            \
	"  local had = redis.call('HGET', K[4], id)\n"                         \
	"  if not had then return end\n"                                       \
	"  local unit, slot, buyer =\n"                                        \
	"      string.match(had, '^(%d+) (%d+) %d+ (.*)$')\n"                  \
	"  redis.call('HDEL', K[4], id)\n"                                     \
	"  redis.call('ZREM', K[6], id)\n"                                     \
	"  if redis.call('HGET', K[5], unit) == id then\n"                     \
	"    redis.call('HDEL', K[5], unit)\n"                                 \
	"    redis.call('ZADD', K[2], unit, unit)\n"                           \
	"  end\n"                                                              \
	"  local slots = {}\n"                                                 \
	"  local list = redis.call('HGET', K[3], buyer) or ''\n"               \
	"  for s in string.gmatch(list, '%d+') do\n"                           \
	"    if s ~= slot then slots[#slots + 1] = s end\n"                    \
	"  end\n"                                                              \
	"  redis.call('HSET', K[3], buyer, table.concat(slots, ','))\n"        \
	"end\n"

#define NOW                                                                    \
	"local function clock()\n"                                             \
	"  local t = redis.call('TIME')\n"                                     \
	"  return t[1] * 1000 + math.floor(t[2] / 1000)\n"                     \
	"end\n"

/*
 * ARGV id, buyer.
 * -> { answer, epoch, unit, slot, again, known, left, stock }; answer as in
 * enum counter_answer.
 *
 * Closed is final, so it needs no proof of identity; where the buyers were lost
 * everybody counts as known.
 *
 * What whole() looks at comes with what is read anyway: this one runs for every
 * buyer. "#" is first in `free`, the lowest that came back second.
 */
const struct redis_script script_counter_hold = { "counter_hold",
	READ SAME LEFT TELL
	"local id, buyer = ARGV[1], ARGV[2]\n"
	"local mark = redis.call('HMGET', K[3], '#', buyer)\n"
	"local slots = mark[2]\n"
	"local known = slots and 1 or 0\n"
	"if state == 'closed' then\n"
	"  if mark[1] ~= epoch then known = 1 end\n"
	"  return { 3, epoch, 0, 0, 0, known, 0, 0 }\n"
	"end\n"
	"local held = redis.call('HMGET', K[4], '#', id)\n"
	"local free = redis.call('ZRANGE', K[2], 0, 1, 'WITHSCORES')\n"
	"local open = redis.call('ZSCORE', K[6], '#')\n"
	"if state ~= 'armed' or mark[1] ~= epoch or held[1] ~= epoch or\n"
	"    redis.call('HGET', K[5], '#') ~= epoch or\n"
	"    free[1] ~= '#' or tonumber(free[2]) ~= -tonumber(epoch) or\n"
	"    tonumber(open or 0) ~= -tonumber(epoch) or not same() then\n"
	"  return { 1, epoch, 0, 0, 0, 0, 0, 0 }\n"
	"end\n"
	"local left = count()\n"
	"local had = held[2]\n" /* MUTANT id */
	"if had then\n"
	"  local unit, slot = string.match(had, '^(%d+) (%d+)')\n"
	"  return { 0, epoch, tonumber(unit), tonumber(slot), 1, 1, left,\n"
	"      left + m[11] }\n"
	"end\n"
	"local function no(answer)\n"
	"  return { answer, epoch, 0, 0, 0, known, left, left + m[11] }\n"
	"end\n"
	"local t = redis.call('TIME')\n"
	"local ms = t[1] .. string.sub(string.format('%06d', t[2]), 1, 3)\n"
	"if tonumber(ms) < tonumber(m[8]) then return no(2) end\n"
	"if tonumber(ms) >= tonumber(m[9]) then return no(3) end\n"
	"if left <= 0 then return no(4) end\n"
	"local taken, slot = {}, 1\n"
	"for s in string.gmatch(slots or '', '%d+') do\n"
	"  taken[tonumber(s)] = true\n"
	"end\n"
	"while taken[slot] do slot = slot + 1 end\n"
	"if slot > tonumber(m[7]) then return no(5) end\n"
	/* The lowest that came back, else a fresh one. */
	"local unit = free[3]\n"
	"if unit then\n"
	"  redis.call('ZREM', K[2], unit)\n"
	"else\n"
	"  unit, fresh = string.format('%d', fresh), fresh + 1\n"
	"end\n"
	"redis.call('HSET', K[4], id,\n"
	"    unit .. ' ' .. slot .. ' ' .. ms .. ' ' .. buyer)\n"
	"redis.call('HSET', K[5], unit, id)\n"
	"redis.call('ZADD', K[6], ms, id)\n"
	"if slots and slots ~= '' then slots = slots .. ',' .. slot\n"
	"else slots = string.format('%d', slot) end\n"
	"redis.call('HSET', K[3], buyer, slots)\n"
	"tell(left - 1, t)\n"
	"return { 0, epoch, tonumber(unit), slot, 0, known, left - 1,\n"
	"    left - 1 + m[11] }\n" };

/* ARGV id, unit. -> 0 done | 1 unarmed | 2 closed */
const struct redis_script script_counter_give_back = { "counter_give_back",
	READ WHOLE LEFT TELL DROP
	"if state == 'closed' then return 2 end\n"
	"if not whole() then return 1 end\n"
	"local id, unit = ARGV[1], ARGV[2]\n"
	"local had = redis.call('HGET', K[4], id)\n"
	"if had and string.match(had, '^%d+') == unit then\n"
	"  drop(id)\n"
	"  tell(count())\n"
	"elseif tonumber(unit) < fresh and\n"
	"    redis.call('HEXISTS', K[5], unit) == 0 and\n"
	"    not redis.call('ZSCORE', K[2], unit) then\n"
	"  redis.call('ZADD', K[2], unit, unit)\n"
	"  tell(count())\n"
	"end\n"
	"again()\n"
	"return 0\n" };

/*
 * ARGV epoch, mine, id, buyer, unit, slot of the order that stands.
 * -> 0 done | 1 unarmed, or another epoch | 2 closed
 *
 * What holds that number, what `mine` holds and what the order was filed with
 * goes first; then it is filed. Into `open` too: it may have been cancelled
 * since it was read, and its unit given back while another one held it.
 */
const struct redis_script script_counter_file = { "counter_file",
	READ WHOLE LEFT TELL DROP NOW
	"if state == 'closed' then return 2 end\n"
	"if epoch ~= ARGV[1] or not whole() then return 1 end\n"
	"local id, buyer, unit, slot = ARGV[3], ARGV[4], ARGV[5], ARGV[6]\n"
	"local now = clock()\n"
	"drop(ARGV[2])\n"
	"drop(id)\n"
	"local holder = redis.call('HGET', K[5], unit)\n"
	"if holder then drop(holder) end\n"
	"while fresh <= tonumber(unit) do\n"
	"  redis.call('ZADD', K[2], fresh, fresh)\n"
	"  fresh = fresh + 1\n"
	"end\n"
	"redis.call('ZREM', K[2], unit)\n"
	"redis.call('HSET', K[5], unit, id)\n"
	"redis.call('HSET', K[4], id,\n"
	"    unit .. ' ' .. slot .. ' ' .. now .. ' ' .. buyer)\n"
	"redis.call('ZADD', K[6], now, id)\n"
	"add_slot(buyer, slot)\n"
	"tell(count())\n"
	"again()\n"
	"return 0\n" };

/* ARGV epoch. -> 1 it was armed with it */
const struct redis_script script_counter_disarm = { "counter_disarm",
	READ
	"if epoch ~= ARGV[1] or state ~= 'armed' then return 0 end\n"
	"redis.call('HSET', K[1], 'state', 'disarmed')\n"
	"return 1\n" };

/* -> { there, armed, closed, epoch, next, allotment, free, holds, left, stock }
 */
const struct redis_script script_counter_state = { "counter_state",
	READ WHOLE LEFT
	"if not m[1] then return { 0, 0, 0, '0', 0, 0, 0, 0, 0, 0 } end\n"
	"if not whole() then\n"
	"  return { 1, 0, state == 'closed' and 1 or 0, epoch, fresh,\n"
	"      tonumber(m[6] or 0), 0, 0, 0, 0 }\n"
	"end\n"
	"local left = count()\n"
	"return { 1, 1, 0, epoch, fresh, tonumber(m[6]),\n"
	"    redis.call('ZCARD', K[2]) - 1, redis.call('HLEN', K[4]) - 1,\n"
	"    left, left + m[11] }\n" };

/*
 * One page of what a counter is armed with, beside the live keys.
 * KEYS: 2..6 under names that hold the epoch. ARGV epoch, the identity that the
 * first page was answered with or "", ms to live, from, to, number of units;
 * of each unit, id, buyer, slot; then buyers who are known.
 * -> the identity, or nil: another server
 */
const struct redis_script script_counter_stage = { "counter_stage",
	"local K = { '', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5] }\n" INFO
	    NOW DROP
	"local epoch, me = ARGV[1], identity()\n"
	"if ARGV[2] ~= '' and ARGV[2] ~= me then return false end\n"
	"local now, held = clock(), {}\n"
	"redis.call('ZADD', K[2], -tonumber(epoch), '#')\n"
	"redis.call('ZADD', K[6], -tonumber(epoch), '#')\n"
	"for k = 3, 5 do redis.call('HSET', K[k], '#', epoch) end\n"
	"local last = 6 + 4 * ARGV[6]\n"
	"for i = 7, last, 4 do\n"
	"  local unit, id = ARGV[i], ARGV[i + 1]\n"
	"  local buyer, slot = ARGV[i + 2], ARGV[i + 3]\n"
	"  held[tonumber(unit)] = true\n"
	"  redis.call('HSET', K[5], unit, id)\n"
	"  redis.call('HSET', K[4], id,\n"
	"      unit .. ' ' .. slot .. ' ' .. now .. ' ' .. buyer)\n"
	"  redis.call('ZADD', K[6], now, id)\n"
	"  add_slot(buyer, slot)\n"
	"end\n"
	"for i = last + 1, #ARGV do\n"
	"  redis.call('HSETNX', K[3], ARGV[i], '')\n"
	"end\n"
	"for u = tonumber(ARGV[4]), tonumber(ARGV[5]) do\n"
	"  if not held[u] then redis.call('ZADD', K[2], u, u) end\n"
	"end\n"
	"for k = 2, 6 do redis.call('PEXPIRE', K[k], ARGV[3]) end\n"
	"return me\n" };

/*
 * All at once. KEYS: the six, then the five that were staged. ARGV epoch,
 * identity, next, allotment, limit, starts, ends, item, product, rest, others.
 * -> 0 armed | 1 the stored epoch is as high | 2 what was staged is lost
 */
const struct redis_script script_counter_arm = { "counter_arm",
	READ INFO LEFT TELL
	"local e = ARGV[1]\n"
	"if tonumber(epoch) >= tonumber(e) then return 1 end\n"
	"if identity() ~= ARGV[2] or\n"
	"    tonumber(redis.call('ZSCORE', K[7], '#') or 0) ~= -tonumber(e) or\n"
	"    redis.call('HGET', K[8], '#') ~= e or\n"
	"    redis.call('HGET', K[9], '#') ~= e or\n"
	"    redis.call('HGET', K[10], '#') ~= e or\n"
	"    tonumber(redis.call('ZSCORE', K[11], '#') or 0) ~= -tonumber(e)\n"
	"    then return 2 end\n"
	"redis.call('UNLINK', K[2], K[3], K[4], K[5], K[6])\n"
	"for k = 2, 6 do\n"
	"  redis.call('RENAME', K[k + 5], K[k])\n"
	"  redis.call('PERSIST', K[k])\n"
	"end\n"
	"local run_id, replid = string.match(ARGV[2], '^(%x+) (%x+)$')\n"
	"redis.call('HSET', K[1], 'epoch', e, 'state', 'armed',\n"
	"    'run_id', run_id, 'replid', replid, 'next', ARGV[3],\n"
	"    'allotment', ARGV[4], 'limit', ARGV[5], 'starts', ARGV[6],\n"
	"    'ends', ARGV[7], 'item', ARGV[8], 'product', ARGV[9],\n"
	"    'rest', ARGV[10], 'others', ARGV[11])\n"
	"fresh, m[6] = tonumber(ARGV[3]), ARGV[4]\n"
	"m[10], m[11], m[12] = ARGV[9], ARGV[10], ARGV[11]\n"
	"tell(count())\n"
	"again()\n"
	"return 0\n" };

/* ARGV epoch. -> 1 closed. The buyers stay: who had an order is known. */
const struct redis_script script_counter_close = { "counter_close",
	READ
	"if tonumber(epoch) > tonumber(ARGV[1]) then return 0 end\n"
	"if state == 'closed' and epoch == ARGV[1] then return 1 end\n"
	"redis.call('HSET', K[1], 'epoch', ARGV[1], 'state', 'closed')\n"
	"redis.call('UNLINK', K[2], K[4], K[5], K[6])\n"
	"if redis.call('HGET', K[3], '#') == epoch then\n"
	"  redis.call('HSET', K[3], '#', ARGV[1])\n"
	"else\n"
	"  redis.call('UNLINK', K[3])\n"
	"end\n"
	"return 1\n" };

/* ARGV epoch, rest, others. -> 1 it differed */
const struct redis_script script_counter_rest = { "counter_rest",
	READ WHOLE LEFT TELL
	"if epoch ~= ARGV[1] or not whole() or\n"
	"    (m[11] == ARGV[2] and m[12] == ARGV[3]) then return 0 end\n"
	"redis.call('HSET', K[1], 'rest', ARGV[2], 'others', ARGV[3])\n"
	"m[11], m[12] = ARGV[2], ARGV[3]\n"
	"tell(count())\n"
	"return 1\n" };

/* ARGV ms, n. -> { state, epoch, id, hold, id, hold, ... }; state: 0 armed |
 * 1 unarmed | 2 closed */
const struct redis_script script_counter_unjustified = {
	"counter_unjustified", READ WHOLE NOW
	"if state == 'closed' then return { 2, epoch } end\n"
	"if not whole() then return { 1, epoch } end\n"
	"local out = { 0, epoch }\n"
	"for _, id in ipairs(redis.call('ZRANGEBYSCORE', K[6], 0,\n"
	"    clock() - ARGV[1], 'LIMIT', 0, ARGV[2])) do\n"
	"  out[#out + 1] = id\n"
	"  out[#out + 1] = redis.call('HGET', K[4], id)\n"
	"end\n"
	"return out\n" };

/* ARGV epoch, ids */
const struct redis_script script_counter_justified = { "counter_justified",
	READ
	"if epoch ~= ARGV[1] then return 0 end\n"
	"for i = 2, #ARGV do redis.call('ZREM', K[6], ARGV[i]) end\n"
	"return 1\n" };

/* ARGV from, n. -> { state, epoch, of each number: false lost | 1 free | id,
 * and its hold or false } */
const struct redis_script script_counter_look = { "counter_look",
	READ WHOLE
	"if state == 'closed' then return { 2, epoch } end\n"
	"if not whole() then return { 1, epoch } end\n"
	"local out = { 0, epoch }\n"
	"for u = tonumber(ARGV[1]),\n"
	"    math.min(fresh - 1, ARGV[1] + ARGV[2] - 1) do\n"
	"  local id = redis.call('HGET', K[5], u)\n"
	"  local n = #out\n"
	"  if id then\n"
	"    out[n + 1], out[n + 2] = id, redis.call('HGET', K[4], id)\n"
	"  else\n"
	"    out[n + 1] = redis.call('ZSCORE', K[2], u) and 1 or 0\n"
	"    out[n + 2] = 0\n"
	"  end\n"
	"end\n"
	"return out\n" };
