-- As much of Redis as lib/redis/limiter.lua calls: hashes that keep the order of their fields, and expiry by a clock that the test sets.
-- Globals from the test: clock_us() is the server's clock.
local db = {}

local function hash(key)
    local entry = db[key]
    if entry and entry.expires and clock_us() >= entry.expires then
        db[key], entry = nil, nil
    end
    return entry
end

local function make(key)
    local entry = hash(key)
    if not entry then
        entry = {order = {}, values = {}}
        db[key] = entry
    end
    return entry
end

local function put(entry, field, value)
    if entry.values[field] == nil then
        entry.order[#entry.order + 1] = field
    end
    entry.values[field] = tostring(value)
end

local commands = {}

function commands.TIME()
    local now = clock_us()
    return {string.format('%.0f', math.floor(now / 1000000)), string.format('%.0f', now % 1000000)}
end

function commands.HGETALL(key)
    local entry, out = hash(key), {}
    for _, field in ipairs(entry and entry.order or {}) do
        out[#out + 1] = field
        out[#out + 1] = entry.values[field]
    end
    return out
end

function commands.HVALS(key)
    local entry, out = hash(key), {}
    for _, field in ipairs(entry and entry.order or {}) do
        out[#out + 1] = entry.values[field]
    end
    return out
end

function commands.HGET(key, field)
    local entry = hash(key)
    return entry and entry.values[field] or false
end

function commands.HMGET(key, ...)
    local out = {}
    for i, field in ipairs({...}) do
        out[i] = commands.HGET(key, field)
    end
    return out
end

function commands.HSET(key, ...)
    local entry, pairs_of = make(key), {...}
    for i = 1, #pairs_of, 2 do
        put(entry, pairs_of[i], pairs_of[i + 1])
    end
    return 1
end

function commands.HDEL(key, field)
    local entry = hash(key)
    if not entry or entry.values[field] == nil then
        return 0
    end
    entry.values[field] = nil
    for i, other in ipairs(entry.order) do
        if other == field then
            table.remove(entry.order, i)
            break
        end
    end
    if #entry.order == 0 then
        db[key] = nil
    end
    return 1
end

function commands.HINCRBY(key, field, by)
    local entry = make(key)
    local value = tonumber(entry.values[field] or 0) + tonumber(by)
    put(entry, field, string.format('%.0f', value))
    return value
end

commands.HINCRBYFLOAT = commands.HINCRBY

function commands.DEL(...)
    for _, key in ipairs({...}) do
        db[key] = nil
    end
    return 1
end

function commands.PEXPIRE(key, ms)
    local entry = hash(key)
    if entry then
        entry.expires = clock_us() + tonumber(ms) * 1000
    end
    return 1
end

function commands.EXPIRE(key, seconds)
    return commands.PEXPIRE(key, seconds * 1000)
end

redis = {
    call = function(name, ...)
        return assert(commands[name], name)(...)
    end,
}

function flushall()
    db = {}
end

local function copy_of(value)
    if type(value) ~= 'table' then
        return value
    end
    local copy = {}
    for k, v in pairs(value) do
        copy[k] = copy_of(v)
    end
    return copy
end

-- A replica has all up to now; later it takes over.
local replica

function replicate()
    replica = copy_of(db)
end

function take_over()
    db = replica
end
