-- Fences of a shard: the highest token of each lease that it has seen. Whoever writes under a
-- lease asks first, before it reads what it will change; a token older than one seen is refused.
local FENCES = PREFIX .. 'fences'

-- nil when `token` may write, and is the highest seen from now on; otherwise the higher one.
local function refuse_stale(name, token)
  local seen = tonumber(redis.call('HGET', FENCES, name) or 0) or 0
  if token < seen then
    return seen
  end
  if token > seen then
    redis.call('HSET', FENCES, name, string.format('%.0f', token))
  end
  return nil
end
