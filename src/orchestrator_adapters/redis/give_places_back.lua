-- KEYS[1] places in flight. ARGV: order ids.
-- Answers how many of them held one.
local freed = 0
for _, id in ipairs(ARGV) do
  freed = freed + redis.call('ZREM', KEYS[1], id)
end
return freed
