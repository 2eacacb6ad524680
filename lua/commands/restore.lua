-- Writes the records of reservations that were forgotten, as expired: none of them holds a unit.
-- Where a record is kept already, of whichever reservation, it stays.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..256)
--   then per item: field, record (in state x)
-- Returns: flat array: now ms, n times the record that is kept now
--@include shard

local ENDED_STEP_MS = 60000
local restored = {}
local reply = { NOW }

for i = 1, tonumber(ARGV[2]) do
  local field, record = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local kept = redis.call('HGET', RESERVATIONS, field)
  if not kept then
    redis.call('HSET', RESERVATIONS, field, record)
    restored[#restored + 1] = field
  end
  reply[1 + i] = kept or record
end

if #restored > 0 then
  local list = string.format('%.0f', math.ceil(NOW / ENDED_STEP_MS))
  redis.call('ZADD', PREFIX .. 'ended', list, list)
  redis.call('RPUSH', PREFIX .. 'ended:' .. list, unpack(restored))
end
return reply
