-- KEYS[1] the state, KEYS[2] a key that nobody sets.
-- Deleting nothing is still a write: a replica refuses it, a server that may not write refuses it,
-- so an old copy never answers. It comes first, before anything could be answered.
redis.call('DEL', KEYS[2])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'string' then
  return {kind, redis.call('GET', KEYS[1])}
end
return {kind, ''}
