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
local n = 1
for i = 3, #ARGS do
  local s = get_sku(ARGS[i])
  if s then
    local kept = settings_of(s) or {}
    local seq = tonumber(call('HGET', PREFIX .. 'sku:' .. s.sku, 'move_seq') or 0) or 0
    reply[n + 1], reply[n + 2], reply[n + 3] = s.sku, s.on_hand, s.available
    reply[n + 4], reply[n + 5], reply[n + 6] = s.held, s.unsettled, s.safety_stock
    reply[n + 7], reply[n + 8] = s.sold, s.version
    reply[n + 9], reply[n + 10] = kept.buyer_limit or 0, kept.hold_ttl_ms or 0
    reply[n + 11], reply[n + 12] = kept.sale_starts_ms or 0, kept.sale_ends_ms or 0
    reply[n + 13], reply[n + 14] = seq, kept.fuse_rps or 0
    n = n + 14
  end
end
return reply
