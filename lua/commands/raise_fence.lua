-- Tells a shard of a lease's token, so that whoever held the lease before writes there no more.
-- To be called before the new holder reads what it is going to change.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] token, a number below 2^53
-- Returns: flat array: now ms, code, token: DONE: the token given; STALE_FENCE: the higher one seen
--@include codes
--@include shard
--@include fence

local TOKEN = tonumber(ARGV[3])
local higher = refuse_stale(ARGV[2], TOKEN)
if higher then
  return { NOW, STALE_FENCE, higher }
end
return { NOW, DONE, TOKEN }
