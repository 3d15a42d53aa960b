-- Cluster-wide limits: up to 32 of them in one call. Time is that of Redis (TIME), in microseconds. Redis 5 or newer.
--
-- KEYS[1] epoch    hash: id (when this data began), till (end of learning). Without it the data was lost (or is new): nobody knows
--                  what others have in hand, so nothing is granted until `till`, while the holders report what they hold.
-- KEYS[2] holders  hash: holder -> how many holders it believes there are; filled while learning. When all have reported,
--                  learning ends early, yet late enough that each of them hears of it before (they ask every second).
-- KEYS[3..]        the limits
-- ARGV[1] holder, ARGV[2] holders there are, ARGV[3] "1": this holder has reported all its slots
-- then six for each limit:
--   r step slack want ahead least  rate: `want` tokens, `step` apart, burst of `slack`; the first at most `ahead` into the
--                                future, and as many as come up to there, but no fewer than `least`
--   g end length 0 0 0           rate: gives back the tail of a lease, which ended at `end`
--   s amount have want ttl 0     slots: I hold `have`, and would hold `want`
-- Reply: now, epoch id, till, then three for each limit:
--   r: granted, time of the first token, length of the lease; refused: 0, 0, ask again after so long
--   g: 1 or 0, 0, 0
--   s: how many I hold now, how many the others hold, 0
--
-- A rate is GCRA: the key holds the time of the next token. A token may be used from its time on and for `slack` longer;
-- whoever holds a lease keeps to that, so what is used in any window is at most what its length brings plus the burst.

local LEARN_US = 15000000
local LEARN_LEAST_US = 3000000
local HEAR_US = 1500000
local IDLE_MS = 600000
local TOLERANCE_US = 500000 -- most that lease.c adds to the use of a token

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local holder = ARGV[1]

local function text(number)
    return string.format('%.0f', number)
end

local function learn()
    local epoch = redis.call('HMGET', KEYS[1], 'id', 'till')
    local id, till = tonumber(epoch[1]), tonumber(epoch[2])
    if not id or not till then
        id, till = now, now + LEARN_US
        redis.call('DEL', KEYS[2])
        redis.call('HSET', KEYS[1], 'id', text(id), 'till', text(till))
    elseif till > now + LEARN_US then
        -- the clock was set back
        till = now + LEARN_US
        redis.call('HSET', KEYS[1], 'till', text(till))
    end
    if till > now and ARGV[3] == '1' then
        redis.call('HSET', KEYS[2], holder, ARGV[2])
        redis.call('EXPIRE', KEYS[2], 60)
        local seen, expected = 0, 1
        for _, believed in ipairs(redis.call('HVALS', KEYS[2])) do
            seen = seen + 1
            expected = math.max(expected, tonumber(believed))
        end
        local early = math.max(now + HEAR_US, id + LEARN_LEAST_US)
        if seen >= expected and early < till and now < till - HEAR_US then
            till = early
            redis.call('HSET', KEYS[1], 'till', text(till))
        end
    end
    return id, till
end

local function put(key, tat, slack)
    redis.call('SET', key, text(tat), 'PX', text(math.max(0, tat - now) / 1000 + slack / 1000 + IDLE_MS))
end

local function rate(key, step, slack, want, ahead, least)
    local tat = tonumber(redis.call('GET', key) or now)
    tat = math.max(tat, now - slack)
    local furthest = now + ahead + slack + TOLERANCE_US + 2 * step
    if tat > furthest then
        -- the clock was set back, or the limit was lower before
        tat = math.ceil(furthest)
        put(key, tat, slack)
    end
    -- Less than half of what is wanted is not worth a call.
    local room = now + ahead - tat
    if want > least then
        room = room - (math.ceil(want / 2) - 1) * step
    end
    if room < 0 then
        return 0, 0, math.ceil(-room)
    end
    local granted = math.min(want, math.max(least, math.floor((now + ahead - tat) / step) + 1))
    local first = math.ceil(tat)
    local length = math.ceil(granted * step)
    put(key, first + length, slack)
    return granted, first, length
end

local function give_back(key, lease_end, length)
    if tonumber(redis.call('GET', key) or 0) == lease_end then
        put(key, lease_end - length, 0)
        return 1, 0, 0
    end
    return 0, 0, 0
end

local function slots(key, amount, have, want, ttl, learning)
    local all = redis.call('HGETALL', key)
    local others = 0
    for i = 1, #all, 2 do
        if all[i] ~= holder then
            local count, expiry = string.match(all[i + 1], '^(%d+) (%d+)$')
            if not count or tonumber(expiry) <= now then
                redis.call('HDEL', key, all[i])
            else
                others = others + tonumber(count)
            end
        end
    end
    local mine = have
    if not learning then
        mine = math.max(have, math.min(want, amount - others))
    end
    if mine > 0 then
        redis.call('HSET', key, holder, text(mine) .. ' ' .. text(now + ttl))
        redis.call('PEXPIRE', key, text(ttl / 1000))
    else
        redis.call('HDEL', key, holder)
    end
    return mine, others, 0
end

local id, till = learn()
local learning = now < till
local reply = {now, id, till}
for i = 3, #KEYS do
    local at = 4 + (i - 3) * 6
    local op, a, b, c, d, e = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
        tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
    local x, y, z
    if op == 's' then
        x, y, z = slots(KEYS[i], a, b, c, d, learning)
    elseif op == 'g' then
        x, y, z = give_back(KEYS[i], a, b)
    elseif learning then
        x, y, z = 0, 0, till - now
    else
        x, y, z = rate(KEYS[i], a, b, c, d, e)
    end
    reply[#reply + 1] = x
    reply[#reply + 1] = y
    reply[#reply + 1] = z
end
return reply
