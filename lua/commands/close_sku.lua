-- Closes a SKU so that it can be rebuilt: nothing of it moves until open_sku is called with the
-- same token. One that Redis lost is made, empty; the terms of others stay as they are for now.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] sku
--   ARGV[3] token of this rebuild
-- Returns: flat array: now ms, version
--@include shard

local SKU, TOKEN = ARGV[2], ARGV[3]
local KEY = PREFIX .. 'sku:' .. SKU

local version = tonumber(call('HGET', KEY, 'version') or 0) or 0
if call('EXISTS', KEY) == 0 then
  call('HSET', KEY, 'on_hand', 0, 'available', 0, 'held', 0, 'unsettled', 0, 'safety_stock', 0,
    'sold', 0)
end
-- Gateways take in what has a higher version: it must be above all that a lost SKU has had.
version = math.max(version + 1, NOW)
call('HSET', KEY, 'version', string.format('%.0f', version), 'settings', 'closed',
  'closed_by', TOKEN)
call('ZADD', PREFIX .. 'skus', 0, SKU)
return { NOW, version }
