-- Reads the terms and settings of SKUs, after expiring what is due (bounded).
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] most due reservations to expire first (0..4096)
--   ARGV[3..] skus
-- Returns: flat array: now ms, then for each SKU that exists: sku, on_hand, available, held,
--   unsettled, safety_stock, sold (units), version, buyer_limit (units), hold ttl ms,
--   sale starts ms, sale ends ms, move_seq, fuse requests/s
--@include codes
--@rules expire
--@include shard
--@include stock
--@include settings
--@include facts
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

local reply = { NOW }
for i = 3, #ARGS do
  local s = get_sku(ARGS[i])
  if s then
    append_facts(reply, s)
  end
end
return reply
