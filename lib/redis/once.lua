-- Has this message been published already? One key for each: "p TOKEN SINCE_US UNTIL_US" while a publisher with that token may be
-- storing it, "d PARTITION OFFSET" when it is stored.
--
-- KEYS[1]: the message's. ARGV: op, seconds for which it is remembered, token, then of
--   claim  hold_ms (how long this publisher may need), seen (the token whose holder has died without storing it; 0: none)
--          -> 0 0 0 0: it is yours; 1 partition offset 0: stored; 2 token age_ms left_ms: another one may be storing it
--   done   partition, offset -> 0 0 0 0; what another one has claimed since stays
--   drop   0, 0 -> 0 0 0 0; the claim is given back, nothing was stored
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local op, keep_s, token = ARGV[1], ARGV[2], ARGV[3]
local value = redis.call('GET', KEYS[1])
local words = {}
if value then
    for word in string.gmatch(value, '%S+') do words[#words + 1] = word end
end
local mine = words[1] == 'p' and words[2] == token

if op == 'claim' then
    if words[1] == 'd' then
        return {1, tonumber(words[2]), tonumber(words[3]), 0}
    end
    local free = not value or mine
    if not free then
        local left_us = tonumber(words[4]) - now_us
        if words[2] ~= ARGV[5] or left_us > 0 then
            return {2, tonumber(words[2]), math.floor((now_us - tonumber(words[3])) / 1000), math.max(0, math.ceil(left_us / 1000))}
        end
    end
    local until_us = now_us + tonumber(ARGV[4]) * 1000
    redis.call('SET', KEYS[1], string.format('p %s %.0f %.0f', token, now_us, until_us), 'EX', keep_s)
elseif op == 'done' then
    if not value or mine then
        redis.call('SET', KEYS[1], string.format('d %s %s', ARGV[4], ARGV[5]), 'EX', keep_s)
    end
elseif op == 'drop' and mine then
    redis.call('DEL', KEYS[1])
end
return {0, 0, 0, 0}
