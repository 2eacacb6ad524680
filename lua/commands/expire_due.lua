-- Expires reservations whose deadline passed, oldest lists first, a bounded number a call.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] most reminders to look at (1..4096)
-- Returns: flat array: now ms, reminders looked at, reservations expired, reservations left
--   alone because a SKU of theirs does not add up, 1 when they had more lines than one call
--   moves and the rest is still to be looked at (else 0), then the terms of each SKU touched
--@include codes
--@rules expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include sweep

local LIMIT = tonumber(ARGV[2])
while sweep(LIMIT, LIMIT) do
end
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
trim_swept()
return append_skus({ NOW, swept, expired, stuck, moved_lines >= LINES_MAX and 1 or 0 })
