-- KEYS[1] places in flight: order ids, scored by when each comes free by itself.
-- KEYS[2] what was let go: one member an order, scored by when.
-- ARGV: orders in flight at most, orders in a window at most (-1: no limit), how long a place is
-- held, how long the window is, the longest that a taker waits for a place; then the order ids.
-- Times are microseconds, by this server's clock: a double holds them exactly.
-- Answers {orders granted, time until more may be had}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local max_in_flight, max_in_window = tonumber(ARGV[1]), tonumber(ARGV[2])
local hold, window, longest_wait = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local first_id = 6

local function text(microseconds)
  return string.format('%.0f', microseconds)
end

-- The time of the one whose leaving makes room: not the first, where another's limit was higher.
local function leaving(key, surplus)
  return tonumber(redis.call('ZRANGE', key, surplus, surplus, 'WITHSCORES')[2])
end

-- Both are writes though they may delete nothing: a replica refuses them, so no old copy grants.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - window))
-- A clock that was put back would keep what is later than now for longer than a window.
for _, sent in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. text(now), '+inf')) do
  redis.call('ZADD', KEYS[2], text(now), sent)
end

local in_flight, in_window = redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])
local granted, wait = 0, 0
for place = first_id, #ARGV do
  local id = ARGV[place]
  local free_at = redis.call('ZSCORE', KEYS[1], id)
  if not free_at then
    if max_in_flight >= 0 and in_flight >= max_in_flight then
      wait = math.min(leaving(KEYS[1], in_flight - max_in_flight) - now, longest_wait)
    end
    if max_in_window >= 0 and in_window >= max_in_window then
      wait = math.max(wait, leaving(KEYS[2], in_window - max_in_window) + window - now)
    end
    if wait > 0 then
      break
    end
    in_flight = in_flight + 1
    if max_in_window >= 0 then
      in_window = in_window + 1
      redis.call('ZADD', KEYS[2], text(now), id .. ':' .. text(now))
    end
  end
  redis.call('ZADD', KEYS[1], text(math.max(now + hold, tonumber(free_at or 0))), id)
  granted = granted + 1
end

-- Nothing is left behind once everything in it is past.
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then
  redis.call('PEXPIREAT', KEYS[1], text(math.ceil(tonumber(last[2]) / 1000)))
end
if granted > 0 then
  redis.call('PEXPIRE', KEYS[2], text(math.ceil(window / 1000)))
end
return {granted, wait}
