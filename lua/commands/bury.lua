-- Takes entries out of the outbox that were filed as dead letters or are done with, and forgets
-- what was noted about them. Their reservations stay as they are.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] consumer group
--   ARGV[3..n] outbox entry ids (1..4096)
-- Returns: flat array: now ms, number of entries taken out
--@include shard

local OUTBOX = KEYS[2]
local ids = {}
for i = 3, #ARGV do
  ids[#ids + 1] = ARGV[i]
end
call('HDEL', PREFIX .. 'faults', unpack(ids))
call('XACK', OUTBOX, ARGV[2], unpack(ids))
return { NOW, call('XDEL', OUTBOX, unpack(ids)) }
