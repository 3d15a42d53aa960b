-- Cluster-wide limits: up to 32 of them in one call, all of one hash tag. Redis 5 or newer.
--
-- KEYS[1] epoch    hash: id (when this data began), till (end of learning) and the latest it may be, off and last (see `clock`), server. Without it the
--                  data was lost (or is new): nobody knows what others have in hand, so nothing is granted until `till`, while the holders report what they hold.
-- KEYS[2] holders  hash: holder -> how many holders it believes there are, whether it has reported all, whether it has stopped, when it called;
--                  filled while learning. When all have reported, learning ends early, yet late enough that each of them hears of it
--                  before (they ask every second) and stops what it does without us; it goes on a little while one of them has not said that.
-- KEYS[3..]        the limits
-- ARGV[1] holder, ARGV[2] holders there are, ARGV[3] "1": this holder has reported all that it holds; "3": and it uses nothing but that; "2": it has
-- been without us for so long that it, or others, went on by themselves: learning begins, so that what all have used meanwhile is known. ARGV[4] what the time should
-- be here as far as it knows (0: it does not), ARGV[5] which server this is ("-": not known): another one than at the last call, a replica that
-- took over or one that read its data from a disk, may lack what was done last, so learning begins; then 12 for each limit:
--   w amount interval seq held demand need used freed handed weights burst    window (see there)
--   s amount seq have want ttl 0...    slots: I hold `have`, and would hold `want`; to want more is remembered for WANT_US
--   d amount seq day used granted want 0...    daily (see there)
-- `seq` rises with each call of a holder. A call that comes late, behind a younger one on another connection, changes nothing; its answer is
-- -1 and the seq that is known. (One that begins anew and whose clock was set back comes late, too, and goes on above that.)
-- Reply: now, epoch id, till, then six for each limit (and one for each of its weights):
--   w: slots I hold now, granted of these, time from which those are free, slots I am to hold, my share of the amount in
--      thousandths of a slot, ask again after so long; then each weight as it counts, in thousandths
--   s: how many I hold now, how many the others hold, how many I am to keep of mine: less while others who have fewer want some; how many
--      more others want
--   d: the day, how many I may have used of it at most, how many are left for all, how many of mine were granted now
--
-- A window of `amount` in any `interval` is so many slots, each of which is used once in an interval: then no interval can see more
-- than the amount, whoever has which slot. Free slots may change hands at once, used ones together with the time at which they are
-- free again. The hash has: a holder -> what it holds; "b" n -> slots of nobody that are free again at n times the width of a
-- bucket; "p" -> pace, and when this key began. What neither a holder nor a bucket has is free.
--
-- Each holder's share of the amount is what it demands up to a level that is the same for all by weight (max-min fairness). It holds
-- HOLD_US worth of its share. Slots that the division leaves over, and all when there are fewer than holders, go to whoever waits
-- and has had least so far by weight. A weight is told with the number of what it belongs to (a tenant); what several holders
-- tell of counts with an equal part at each.
--
-- A slot that a holder lowered without a word on it (a reply was lost, it began anew), or that it held when it was last heard of, may
-- have been used up to now (or up to the end of its lease): it is free again an interval later.
--
-- Slots of connections are a hash: holder -> "count expiry since demand until seq". `since` is when it began to hold some, or to
-- wait with none; `demand` is how many it wanted, up to the time `until`. Each gets what it demands up to a level that is the same
-- for all (max-min fairness), so only those above the level give back, and never below it: shares do not swing. What is left over when
-- the level is rounded down stays with those who have it. With fewer slots than holders the level is 0 and all slots are such
-- rests: then one that was held for TURN_US goes to who has waited longest.
--
-- A daily cap counts whole days of UTC in absolute numbers: holder -> "granted seq". What was granted stays so, also when the holder
-- dies; a holder that begins anew under the same name goes on with what was granted to it.

local LEARN_US = 15000000
local LEARN_LEAST_US = 3000000
local HEAR_US = 2000000
local STOP_US = 1000000 -- limiter_private.h knows it too
local GONE_US = 5000000
local IDLE_MS = 600000
local WANT_US = 2000000
local TURN_US = 5000000
local HOLD_US = 2000000
local LEASE_US = 2000000 -- limiter_private.h knows it too
local AHEAD_US = 300000
local LOW_US = 100000
local BUCKETS = 128
local DAY_US = 86400000000
local OFF_US = 1000000 -- a clock that differs more from what was expected has been set
local EVEN_US = 1000000 -- between two calls of any holders: after a longer pause it may have been set, or we stood still, which is the same

local holder = ARGV[1]
local now
local disagrees = false -- the holder's idea of the time here is wrong

local function text(number)
    return string.format('%.0f', number)
end

-- Redis' clock plus what makes it go on evenly when it was set: a holder that was heard lately knows better what time it is. But not when
-- the clock has gone on evenly since the last call: then the holder's idea is of before the data was lost. Another server's clock counts for
-- nothing. Returns what was added.
local function clock(off, last, moved)
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + off
    local expected = tonumber(ARGV[4])
    if expected > 0 and (moved or math.abs(expected - now) > OFF_US) then
        if moved or not last or now < last or now - last > EVEN_US then
            off, now = off + expected - now, expected
        else
            disagrees = true
        end
    end
    return off
end

-- One that has been silent for longer is dead or cut off: nobody waits for it.
local function all_have_stopped()
    for _, word in ipairs(redis.call('HVALS', KEYS[2])) do
        local stopped, heard = string.match(word, '^%S+ %d (%d) (%d+)$')
        if stopped == '0' and tonumber(heard) > now - GONE_US then
            return false
        end
    end
    return true
end

-- The end of learning, by what this call and those before it said; it is not later than `latest`.
local function end_of_learning(till, latest, last, began)
    redis.call('HSET', KEYS[2], holder, ARGV[2] .. (ARGV[3] == '0' and ' 0 ' or ' 1 ') .. (ARGV[3] == '3' and '1 ' or '0 ') .. text(now))
    redis.call('EXPIRE', KEYS[2], 60)
    if till <= now then
        return (last < till and now < latest and not all_have_stopped()) and math.min(now + STOP_US, latest) or till
    end
    local seen, expected = 0, 1
    for _, word in ipairs(redis.call('HVALS', KEYS[2])) do
        local believed, reported = string.match(word, '^(%S+) (%d)')
        seen = seen + tonumber(reported)
        expected = math.max(expected, tonumber(believed))
    end
    local early = math.max(now + HEAR_US, began + LEARN_LEAST_US)
    return (seen >= expected and early < till and now < till - HEAR_US) and early or till
end

local function learn()
    local epoch = redis.call('HMGET', KEYS[1], 'id', 'till', 'latest', 'off', 'last', 'server')
    local id, till, latest = tonumber(epoch[1]), tonumber(epoch[2]), tonumber(epoch[3])
    local before = id and tonumber(epoch[4]) or 0
    local last = id and tonumber(epoch[5])
    local moved = id and epoch[6] and epoch[6] ~= '-' and epoch[6] ~= ARGV[5] and ARGV[5] ~= '-'
    local off = clock(before, last, moved)
    last = last or now
    -- A clock that was set ahead has made keys expire, too.
    local lost = not id or not till or not latest or moved or off < before - OFF_US
    if lost then
        redis.call('DEL', KEYS[1])
        id = now
    end
    -- The clock was set back; or nobody called while we learned, so who knows what they have done meanwhile: it was set ahead, or we stood
    -- still.
    if lost or ARGV[3] == '2' or till > now + LEARN_US or (till > last and now - last > HEAR_US) then
        till, latest = now + LEARN_US, now + LEARN_US
        redis.call('DEL', KEYS[2])
    end
    if ARGV[3] ~= '2' and (till > now or last < till) then
        till = end_of_learning(till, latest, last, id)
    end
    redis.call('HSET', KEYS[1], 'id', text(id), 'till', text(till), 'latest', text(latest), 'off', text(off), 'last', text(now), 'server', ARGV[5])
    return id, till
end

-- ---- windows ----

-- The live holders and what is known of each; those whose lease has ended leave their slots busy for an interval from then on.
local function read_window(key, width, interval)
    local all = redis.call('HGETALL', key)
    local window = {holders = {}, held = 0, buckets = {}, tat = 0, began = 0, me = nil}
    local function add_busy(index, count)
        window.buckets[index] = (window.buckets[index] or 0) + count
    end
    for i = 1, #all, 2 do
        local field, value = all[i], all[i + 1]
        local kind = string.sub(field, 1, 1)
        if kind == 'h' then
            local held, expiry, seq, demand, need, served, weights = string.match(value,
                '^(%d+) (%d+) (%d+) ([%d.]+) (%d+) ([%d.]+) (%S+)$')
            local entry = {name = field, held = tonumber(held), expiry = math.min(tonumber(expiry), now + LEASE_US), seq = tonumber(seq),
                demand = tonumber(demand), need = tonumber(need), served = tonumber(served), weights = weights}
            if entry.expiry > now then
                window.holders[#window.holders + 1] = entry
                window.held = window.held + entry.held
                if field == 'h' .. holder then
                    window.me = entry
                end
            else
                redis.call('HDEL', key, field)
                if entry.held > 0 then
                    local index = math.ceil((entry.expiry + interval) / width)
                    add_busy(index, entry.held)
                    redis.call('HINCRBY', key, 'b' .. text(index), text(entry.held))
                end
            end
        elseif kind == 'b' then
            local index = tonumber(string.sub(field, 2))
            if index * width <= now then
                redis.call('HDEL', key, field)
            else
                -- more than two intervals away: the clock was set back
                add_busy(math.min(index, math.ceil((now + 2 * interval) / width)), tonumber(value))
            end
        elseif kind == 'p' then
            local tat, began = string.match(value, '^(%d+) (%d+)$')
            window.tat, window.began = tonumber(tat), tonumber(began)
        end
    end
    window.fresh = #all == 0
    return window
end

-- entry.weight of each: the sum of its weights, each divided among those who tell of it.
local function weigh(holders)
    local count = {}
    for _, entry in ipairs(holders) do
        for id in string.gmatch(entry.weights, '(%d+):') do
            count[id] = (count[id] or 0) + 1
        end
    end
    for _, entry in ipairs(holders) do
        entry.weight = 0
        for id, weight in string.gmatch(entry.weights, '(%d+):([%d.]+)') do
            entry.weight = entry.weight + tonumber(weight) / count[id]
        end
        entry.weight = entry.weight > 0 and entry.weight or 1
    end
    return count
end

-- Each of the weights as it counts here, in thousandths; 0: unknown.
local function add_weights(reply, weights, counts)
    for number, weight in string.gmatch(weights, '(%d+):([%d.]+)') do
        reply[#reply + 1] = counts and math.ceil(tonumber(weight) * 1000 / counts[number]) or 0
    end
    return reply
end

-- entry.share of each, together at most the amount.
local function divide(holders, amount)
    local sorted, left, weight = {}, amount, 0
    for i, entry in ipairs(holders) do
        sorted[i] = entry
        weight = weight + entry.weight
    end
    table.sort(sorted, function(x, y) return x.demand * y.weight < y.demand * x.weight end)
    for _, entry in ipairs(sorted) do
        entry.share = math.min(entry.demand, left * entry.weight / weight)
        left = math.max(0, left - entry.share)
        weight = weight - entry.weight
    end
end

-- Who comes first for what is left over. What one has had more than another counts by turns, lest slots go to and fro: what has been heard
-- of the others is older than what `me` just said, which would always look like more.
local function comes_first(x, y, turn)
    local mine, its = math.floor(x.served / turn), math.floor(y.served / turn)
    if (x.need > 0) ~= (y.need > 0) then
        return x.need > 0
    elseif mine ~= its then
        return mine < its
    elseif x.held ~= y.held then
        return x.held > y.held
    end
    return x.name < y.name
end

-- What is served to one of weight 1 in HOLD_US.
local function turn_of(holders, amount, interval)
    local weight = 0
    for _, entry in ipairs(holders) do
        weight = weight + entry.weight
    end
    return math.max(1, HOLD_US / interval * math.max(1, amount / weight))
end

-- How many slots `me` is to hold.
local function to_hold(holders, me, amount, interval)
    local part, turn = math.min(1, HOLD_US / interval), turn_of(holders, amount, interval)
    local sum, whole, before, first = 0, 0, 0, me.need > 0
    for _, entry in ipairs(holders) do
        local exact = entry.share * part
        sum = sum + exact
        whole = whole + math.floor(exact + 1e-6)
        if entry ~= me and comes_first(entry, me, turn) then
            first = false
            before = before + (exact - math.floor(exact + 1e-6) > 1e-6 and 1 or 0)
        end
    end
    local mine = math.floor(me.share * part + 1e-6)
    local over = math.max(math.floor(sum + 1e-6) - whole, whole == 0 and 1 or 0)
    if me.share * part - mine > 1e-6 and before < over then
        mine = mine + 1
    end
    return math.min(amount, first and math.max(mine, me.need) or mine)
end

-- How far the pace may run ahead; a step more than the burst, as holders come for their slots a little late.
local function depth(step, burst)
    return math.max(burst * step, HOLD_US) + step
end

-- Slots that are free at that time, if until then nobody gets any. What was used before the data was lost is not known, but it was in pace.
local function free_at(window, at, width, amount, interval, burst)
    local free, step = amount - window.held, interval / amount
    for index, count in pairs(window.buckets) do
        free = free - (index * width > at and count or 0)
    end
    if window.began > 0 and at < window.began + interval then
        free = free - math.ceil((window.began + interval - at + depth(step, burst)) / step)
    end
    return math.max(0, free)
end

-- What pace allows: behind a pause no more than the burst, or what HOLD_US brings; or `whole`, which is needed at once and waited for
-- afterwards: one by one it would be waited for twice, as slots gathered for it serve nobody. Shorter intervals have no pace here.
local function in_pace(window, whole, interval, step, burst)
    if interval <= HOLD_US then
        return math.huge
    end
    window.tat = math.min(math.max(window.tat, now), now + 2 * interval)
    local paced = math.floor((now + depth(step, burst) - window.tat) / step + 1e-6)
    return paced > 0 and math.max(paced, whole) or 0
end

-- The bucket that is free next, if that is soon enough to be given away already.
local function next_bucket(window, width)
    local index
    for i in pairs(window.buckets) do
        index = (not index or i < index) and i or index
    end
    return index, index and index * width - now
end

-- What the holder says of its slots: those handed over with their time, those that were not used, the rest unknown.
local function take_over(key, window, me, held, freed, handed, width, amount, interval, learning)
    local gone = me.held - held
    if gone < 0 then
        -- Only while learning can it know of more than we do.
        held = learning and held or me.held
        window.held = window.held + held - me.held
        me.held = held
        return
    end
    window.held = window.held - gone
    me.held = held
    local function to_bucket(index, count)
        count = math.min(count, gone)
        if count > 0 then
            gone = gone - count
            window.buckets[index] = (window.buckets[index] or 0) + count
            redis.call('HINCRBY', key, 'b' .. text(index), text(count))
        end
    end
    for index, count in string.gmatch(disagrees and '' or handed, '(%d+):(%d+)') do
        to_bucket(tonumber(index), tonumber(count))
    end
    freed = math.min(gone, freed)
    gone = gone - freed
    window.tat = math.max(0, window.tat - freed * interval / amount)
    to_bucket(math.ceil((now + interval) / width), gone)
end

-- Free slots, else some that are free soon: a slot that waits in a hand for its turn serves nobody, so what is held is best what has just
-- become free. Returns how many, from when on (0: now), when to ask again.
local function grant(key, window, me, want, amount, interval, width, burst)
    local step = interval / amount
    local whole = want >= me.need - me.held and me.need - me.held or 0
    local paced = in_pace(window, whole, interval, step, burst)
    local count, at = math.min(want, paced, free_at(window, now, width, amount, interval, burst)), 0
    local index, wait = next_bucket(window, width)
    local ahead = math.max(AHEAD_US, math.min(HOLD_US, interval / 8))
    if count == 0 and index and wait <= ahead then
        at = index * width
        count = math.min(want, paced, window.buckets[index], free_at(window, at, width, amount, interval, burst))
        if count > 0 and redis.call('HINCRBY', key, 'b' .. text(index), text(-count)) <= 0 then
            redis.call('HDEL', key, 'b' .. text(index))
        end
    end
    if count > 0 then
        window.tat = interval > HOLD_US and window.tat + count * step or 0
        return count, at, 0
    end
    return 0, 0, math.max(index and wait - ahead or 0, interval > HOLD_US and window.tat + step - now - depth(step, burst) or 0)
end

-- amount, interval; held: what it holds when `freed` unused ones and `handed` ("bucket:count,...") are gone; demand: how many it could
-- use in an interval; need: how many somebody there waits for; used: since it told last; weights: "number:weight,..." or "-".
local function window(key, learning, id, amount, interval, seq, held, demand, need, used, freed, handed, weights, burst)
    local width = math.ceil(interval / BUCKETS)
    local window = read_window(key, width, interval)
    local me = window.me
    if me and seq <= me.seq then
        return add_weights({-1, me.seq, 0, 0, 0, 0}, weights)
    end
    if window.fresh and now - id < interval then
        window.began = now
    end
    if not me then
        me = {name = 'h' .. holder, held = 0, served = 0}
        local least
        for _, entry in ipairs(window.holders) do
            least = math.min(least or entry.served, entry.served)
        end
        me.served = least or 0
        window.holders[#window.holders + 1] = me
    end
    me.seq, me.demand, me.need, me.weights = seq, demand, need, weights
    take_over(key, window, me, held, freed, handed, width, amount, interval, learning)
    local counts = weigh(window.holders)
    me.served = me.served + used / me.weight
    divide(window.holders, amount)
    local target, count, at, retry = me.held, 0, 0, 0
    if not learning then
        target = to_hold(window.holders, me, amount, interval)
        if target > me.held then
            count, at, retry = grant(key, window, me, target - me.held, amount, interval, width, burst)
            me.held = me.held + count
        end
    end
    -- When to ask again: not at all before the next report, when nothing can be expected; soon while others are first; in no hurry with
    -- some just granted, or half of it in hand.
    local soon = math.max(20000, math.min(250000, interval / amount / 4))
    if target <= me.held then
        retry = need > me.held and soon or LEASE_US / 4
    else
        local least = (interval > HOLD_US and (count > 0 or me.held * 2 >= target)) and LOW_US or 2000
        retry = math.max(least, math.min(250000, retry > 0 and retry or soon))
    end
    if me.held > 0 or demand > 0 then
        redis.call('HSET', key, me.name, text(me.held) .. ' ' .. text(now + LEASE_US) .. ' ' .. text(seq) .. ' ' ..
            string.format('%.3f', demand) .. ' ' .. text(need) .. ' ' .. string.format('%.6f', me.served) .. ' ' .. weights)
    else
        redis.call('HDEL', key, me.name)
    end
    redis.call('HSET', key, 'p', text(window.tat) .. ' ' .. text(window.began))
    redis.call('PEXPIRE', key, text(2 * interval / 1000 + IDLE_MS))
    local reply = {me.held, count, at, target, learning and -1 or math.floor(me.share * 1000), math.ceil(retry)}
    return add_weights(reply, weights, counts)
end

-- ---- daily caps ----

-- used, granted: as the holder knows them for `day`; -1: it has just begun.
local function daily(key, learning, amount, seq, day, used, granted, want)
    local today = math.floor(now / DAY_US)
    if tonumber(redis.call('HGET', key, 'day') or -1) ~= today then
        redis.call('DEL', key)
        redis.call('HSET', key, 'day', text(today))
        redis.call('PEXPIRE', key, text(2 * DAY_US / 1000))
    end
    local mine, sum, last = 0, 0, -1
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local count, its = string.match(all[i + 1], '^(%d+) (%d+)$')
        if count and all[i] == 'h' .. holder then
            mine, last = tonumber(count), tonumber(its)
        elseif count then
            sum = sum + tonumber(count)
        end
    end
    if seq <= last then
        return {-1, last, 0, 0, 0, 0}
    end
    if day == today and granted >= 0 then
        -- It knows better: what it does not know to have been granted it did not use; what we have lost it tells us again.
        mine = math.max(used, math.min(granted, learning and granted or mine))
    end
    local before = mine
    if not learning then
        local base = (day == today and used >= 0) and used or mine
        mine = math.max(mine, math.min(base + want, amount - sum))
    end
    redis.call('HSET', key, 'h' .. holder, text(mine) .. ' ' .. text(seq))
    return {today, mine, math.max(0, amount - sum - mine), mine - before, 0, 0}
end

-- ---- connections ----

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

local function slots(key, learning, amount, seq, have, want, ttl)
    local all = redis.call('HGETALL', key)
    local others, missing = 0, 0
    local list = {}
    local me = {name = holder, count = have, since = now, demand = have}
    for i = 1, #all, 2 do
        local count, expiry, since, demand, till, its = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
        count, since = tonumber(count), tonumber(since)
        if not count or tonumber(expiry) <= now then
            redis.call('HDEL', key, all[i])
        elseif all[i] == holder and tonumber(its) >= seq then
            return {-1, tonumber(its), 0, 0, 0, 0}
        elseif all[i] == holder then
            if (count > 0) == (have > 0) then
                me.since = math.min(since, now)
            end
        else
            others = others + count
            local wants = tonumber(till) > now and tonumber(demand) or 0
            missing = missing + math.max(0, wants - count)
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
            text(wanting and want + mine or mine) .. ' ' .. text(wanting and now + WANT_US or 0) .. ' ' .. text(seq))
        redis.call('PEXPIRE', key, text(ttl / 1000))
    else
        redis.call('HDEL', key, holder)
    end
    return {mine, others, keep, missing, 0, 0}
end

local id, till = learn()
local learning = now < till
local reply = {now, id, till}
for i = 3, #KEYS do
    local at = 6 + (i - 3) * 12
    local op, n, answer = ARGV[at], {}, nil
    for k = 1, 11 do
        n[k] = tonumber(ARGV[at + k])
    end
    if op == 's' then
        answer = slots(KEYS[i], learning, n[1], n[2], n[3], n[4], n[5])
    elseif op == 'd' then
        answer = daily(KEYS[i], learning, n[1], n[2], n[3], n[4], n[5], n[6])
    else
        answer = window(KEYS[i], learning, id, n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], ARGV[at + 9], ARGV[at + 10], n[11])
    end
    for _, value in ipairs(answer) do
        reply[#reply + 1] = value
    end
end
return reply
