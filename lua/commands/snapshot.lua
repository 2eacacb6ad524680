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
--@include transitions
--@include shard
--@include stock
--@include records
--@include deadlines
--@include moves
--@include sweep

local LIMIT = tonumber(ARGV[2])
while sweep(LIMIT - swept) do
end
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
trim_swept()

local reply = { NOW }
for i = 3, #ARGV do
  local s = get_sku(ARGV[i])
  if s then
    reply[#reply + 1] = s.sku
    for _, field in ipairs(SKU_FIELDS) do
      reply[#reply + 1] = s[field]
    end
  end
end
return reply
