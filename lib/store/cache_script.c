/*
 * cache_script - what must happen at once in Redis.
 *
 *	K      "souk1 LSN SOFT_MS FILL_MS FLAGS GENERATION\n" and the body
 *	       LSN: the WAL position it was read at (a huge number: the primary)
 *	       SOFT_MS: fresh until then, by Redis's clock
 *	       FILL_MS: what the fetch took (for early refresh)
 *	       FLAGS: 1 there is no such thing; GENERATION: "-" for none
 *	{K}:m  t: the lease's token ("": nobody's, the fetch has failed and is
 *	       not to be tried before u), u: the lease ends (by Redis's clock),
 *	       o: the token of the lease before it, which ran out,
 *	       v: the least acceptable LSN
 *	gen:x  n: the generation, v: the least acceptable LSN; no TTL
 *
 * Positions are compared as Lua numbers, exact up to 2^53: 8 petabytes of WAL.
 * A generation is never an old one again, also when its key was lost: a new
 * one is the time in microseconds, or one more than the last.
 */
#include "store/cache_int.h"

#define NOW_MS                                                                 \
	"local t = redis.call('TIME')\n"                                       \
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

/*
 * KEYS K, {K}:m. ARGV token, lease ms, the generation it must have ("": any),
 * "1" to want the lease though it is fresh.
 * -> { 0 hit | 1 the lease is yours | 2 somebody else's | 3 nobody's: not now,
 *      now, v, K or nil }
 */
const struct redis_script script_cache_read = { "cache_read",
	NOW_MS "local rec = redis.call('GET', KEYS[1])\n"
	       "local m = redis.call('HMGET', KEYS[2], 't', 'u', 'v')\n"
	       "local min = tonumber(m[3] or '0')\n"
	       "if rec and ARGV[4] ~= '1' then\n"
	       "  local soft, gen = string.match(rec,\n"
	       "      '^souk1 %d+ (%d+) %d+ %d (%S+)\\n')\n"
	       "  if soft and tonumber(soft) > now and\n"
	       "      (ARGV[3] == '' or ARGV[3] == gen) then\n"
	       "    return { 0, now, min, rec }\n"
	       "  end\n"
	       "end\n"
	       "local ms = tonumber(ARGV[2])\n"
	       "if m[1] and tonumber(m[2]) > now then\n"
	       "  return { m[1] == '' and 3 or 2, now, min, rec }\n"
	       "end\n"
	       "if m[1] and m[1] ~= '' then\n"
	       "  redis.call('HSET', KEYS[2], 'o', m[1])\n"
	       "end\n"
	       "redis.call('HSET', KEYS[2], 't', ARGV[1],\n"
	       "    'u', string.format('%.0f', now + ms))\n"
	       "if redis.call('PTTL', KEYS[2]) < ms * 2 then\n"
	       "  redis.call('PEXPIRE', KEYS[2], ms * 2)\n"
	       "end\n"
	       "return { 1, now, min, rec }\n" };

/*
 * KEYS K, {K}:m. ARGV token, LSN, fresh ms, stale ms, fill ms, flags,
 * generation, body.
 * -> 0 stored | 1 the lease is not yours any more | 2 below the least LSN
 *
 * A lease that has run out is still good, also while one other has taken it
 * over (and until that one has filled): an invalidation would have removed the
 * tokens. So a lease may be short, for a filler that died, and a slow filler's
 * work is not lost.
 */
const struct redis_script script_cache_fill = { "cache_fill", NOW_MS
	"local m = redis.call('HMGET', KEYS[2], 't', 'v', 'o')\n"
	"if m[1] ~= ARGV[1] and m[3] ~= ARGV[1] then return 1 end\n"
	"if tonumber(ARGV[2]) < tonumber(m[2] or '0') then return 2 end\n"
	"local fresh = tonumber(ARGV[3])\n"
	"local head = string.format('souk1 %s %.0f %s %s %s\\n', ARGV[2],\n"
	"    now + fresh, ARGV[5], ARGV[6], ARGV[7])\n"
	"redis.call('SET', KEYS[1], head .. ARGV[8], 'PX',\n"
	"    string.format('%.0f', math.max(1, fresh + tonumber(ARGV[4]))))\n"
	"redis.call('HDEL', KEYS[2], 't', 'u', 'o')\n"
	"return 0\n" };

/* KEYS {K}:m. ARGV token, ms: nobody may try before (0: all may). -> 1 it was
 * ours */
const struct redis_script script_cache_release = { "cache_release", NOW_MS
	"if redis.call('HGET', KEYS[1], 't') ~= ARGV[1] then return 0 end\n"
	"if ARGV[2] == '0' then\n"
	"  redis.call('HDEL', KEYS[1], 't', 'u')\n"
	"else\n"
	"  redis.call('HSET', KEYS[1], 't', '', 'u',\n"
	"      string.format('%.0f', now + tonumber(ARGV[2])))\n"
	"end\n"
	"return 1\n" };

/* KEYS K, {K}:m. ARGV LSN, marker ms, K. -> 1 */
const struct redis_script script_cache_invalidate = { "cache_invalidate",
	"redis.call('DEL', KEYS[1])\n"
	"redis.call('HDEL', KEYS[2], 't', 'u', 'o')\n"
	"local v = redis.call('HGET', KEYS[2], 'v')\n"
	"if not v or tonumber(v) < tonumber(ARGV[1]) then\n"
	"  redis.call('HSET', KEYS[2], 'v', ARGV[1])\n"
	"end\n"
	"if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then\n"
	"  redis.call('PEXPIRE', KEYS[2], ARGV[2])\n"
	"end\n"
	"redis.call('PUBLISH', 'cache:invalidate',\n"
	"    cjson.encode({ key = ARGV[3] }))\n"
	"return 1\n" };

#define NEXT_GENERATION                                                        \
	"local t = redis.call('TIME')\n"                                       \
	"local n = t[1] * 1000000 + t[2]\n"                                    \
	"local old = redis.call('HGET', KEYS[1], 'n')\n"                       \
	"if old and tonumber(old) >= n then n = tonumber(old) + 1 end\n"

/*
 * KEYS gen:x. ARGV LSN, gen:x. -> 1
 *
 * HDEL first, of nothing: a Redis that is full refuses what needs room only
 * until a script has written (Redis, scriptVerifyOOM()), and forgetting must
 * not fail for want of it. script_cache_invalidate begins with DEL.
 */
const struct redis_script script_cache_bump = { "cache_bump", NEXT_GENERATION
	"redis.call('HDEL', KEYS[1], '-')\n"
	"local v = redis.call('HGET', KEYS[1], 'v')\n"
	"if not v or tonumber(v) < tonumber(ARGV[1]) then v = ARGV[1] end\n"
	"redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n), 'v', v)\n"
	"redis.call('PUBLISH', 'cache:invalidate',\n"
	"    cjson.encode({ key = ARGV[2] }))\n"
	"return 1\n" };

/* KEYS gen:x. -> { n, v }: made where it is not there */
const struct redis_script script_cache_generation = { "cache_generation",
	NEXT_GENERATION "if not old then\n"
			"  redis.call('HSET', KEYS[1], 'n', "
			"string.format('%.0f', n), 'v', '0')\n"
			"end\n"
			"return redis.call('HMGET', KEYS[1], 'n', 'v')\n" };
