-- KEYS[1] the state, KEYS[2] the history.
-- ARGV: type and text expected to stand there, text to put, history line or '', lines kept.
-- Answers {1}, or {0, type, text} with what stands there instead.
local kind = redis.call('TYPE', KEYS[1]).ok
local text = ''
if kind == 'string' then
  text = redis.call('GET', KEYS[1])
end
if kind ~= ARGV[1] or text ~= ARGV[2] then
  return {0, kind, text}
end
-- Redis does not undo what a failing script did. The state is put last, so that an error here
-- leaves it as it was.
if ARGV[4] ~= '' then
  local history = redis.call('TYPE', KEYS[2]).ok
  if history ~= 'list' and history ~= 'none' then
    redis.call('DEL', KEYS[2])
  end
  redis.call('RPUSH', KEYS[2], ARGV[4])
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[5]), -1)
end
redis.call('SET', KEYS[1], ARGV[3])
return {1}
