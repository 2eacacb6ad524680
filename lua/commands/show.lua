-- Reads reservations as they stand, with the clock that judges their deadlines.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2..] fields
-- Returns: flat array: now ms, then each record, or '' where there is none
--@include shard

local records = call('HMGET', RESERVATIONS, unpack(ARGV, 2))
local reply = { NOW }
for i = 1, #records do
  reply[i + 1] = records[i] or ''
end
return reply
