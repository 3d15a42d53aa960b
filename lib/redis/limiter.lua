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
--   s amount have want ttl 0     slots: I hold `have`, and would hold `want`; to want more is remembered for WANT_US
-- Reply: now, epoch id, till, then three for each limit:
--   r: granted, time of the first token, length of the lease; refused: 0, 0, ask again after so long
--   g: 1 or 0, 0, 0
--   s: how many I hold now, how many the others hold, how many I am to keep of mine: less while others who have fewer want some
--
-- A rate is GCRA: the key holds the time of the next token. A token may be used from its time on and for `slack` longer;
-- whoever holds a lease keeps to that, so what is used in any window is at most what its length brings plus the burst.
--
-- Slots are a hash: holder -> "count expiry since demand until". `since` is when it began to hold some, or to wait with none;
-- `demand` is how many it wanted, up to the time `until`. Each gets what it demands up to a level that is the same for all
-- (max-min fairness), so only those above the level give back, and never below it: shares do not swing. What is left over when
-- the level is rounded down stays with those who have it. With fewer slots than holders the level is 0 and all slots are such
-- rests: then one that was held for TURN_US goes to who has waited longest.

local LEARN_US = 15000000
local LEARN_LEAST_US = 3000000
local HEAR_US = 1500000
local IDLE_MS = 600000
local WANT_US = 2000000
local TURN_US = 5000000
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

-- The most that each may have if all that is demanded does not exceed the amount; nil: it does not anyhow.
local function level(list, amount)
    local left, count = amount, #list
    table.sort(list, function(x, y) return x.demand < y.demand end)
    for i, entry in ipairs(list) do
        if entry.demand * (count - i + 1) > left then
            local most = math.floor(left / (count - i + 1))
            return most, left - most * (count - i + 1)
        end
        left = left - entry.demand
    end
    return nil
end

-- Who comes first for what is left above the level: 1 who has it, 2 who waits, 3 who has had it for its time (the last one first).
local function rank(entry, most)
    if entry.count <= most then
        return 2
    end
    return most == 0 and now - entry.since >= TURN_US and 3 or 1
end

-- How many `me`, one of the list, is to have.
local function share(list, me, amount)
    local most, rest = level(list, amount)
    if not most or me.demand <= most then
        return me.demand
    end
    local before = 0
    local mine = rank(me, most)
    for _, other in ipairs(list) do
        if other ~= me and other.demand > most then
            local its = rank(other, most)
            local first = its < mine
            if its == mine and mine ~= 3 and other.count ~= me.count then
                first = other.count > me.count
            elseif its == mine and other.since ~= me.since then
                first = (other.since < me.since) == (mine ~= 3)
            elseif its == mine then
                first = other.name < me.name
            end
            before = before + (first and 1 or 0)
        end
    end
    return before < rest and most + 1 or most
end

local function slots(key, amount, have, want, ttl, learning)
    local all = redis.call('HGETALL', key)
    local others = 0
    local list = {}
    local me = {name = holder, count = have, since = now, demand = have}
    for i = 1, #all, 2 do
        local count, expiry, since, demand, till = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
        count, since = tonumber(count), tonumber(since)
        if not count or tonumber(expiry) <= now then
            redis.call('HDEL', key, all[i])
        elseif all[i] == holder then
            if (count > 0) == (have > 0) then
                me.since = math.min(since, now)
            end
        else
            others = others + count
            local wants = tonumber(till) > now and tonumber(demand) or 0
            list[#list + 1] = {name = all[i], count = count, since = since, demand = math.max(count, wants)}
        end
    end
    if want > have then
        me.demand = want + have -- twice of what it has: a holder may tell of one wish at a time only
    end
    list[#list + 1] = me
    local mine, keep = have, math.max(have, amount)
    if not learning then
        keep = share(list, me, amount)
        mine = math.max(have, math.min(want, amount - others, keep))
    end
    if (mine > 0) ~= (have > 0) then
        me.since = now
    end
    local wanting = want > mine and not learning
    if mine > 0 or wanting then
        local expiry = mine > 0 and now + ttl or now + WANT_US
        redis.call('HSET', key, holder, text(mine) .. ' ' .. text(expiry) .. ' ' .. text(me.since) .. ' ' ..
            text(wanting and want + mine or mine) .. ' ' .. text(wanting and now + WANT_US or 0))
        redis.call('PEXPIRE', key, text(ttl / 1000))
    else
        redis.call('HDEL', key, holder)
    end
    return mine, others, keep
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
