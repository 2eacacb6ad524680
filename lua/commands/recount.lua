-- Reads at one instant all reservations of the shard, the terms of a SKU and its buyers' counts:
-- whatever does not add up here does not add up. Only while they are few; moves nothing.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] most reservations, and most buyers, to read (0..20000)
--   ARGV[3] sku
-- Returns: flat array: now ms, reservations n (-1: more than asked for, and nothing follows),
--   n times (field, record), buyers m, m times (buyer, count), number of repairs, then, where the
--   SKU exists: sku, on_hand, available, held, unsettled, safety_stock, sold (units), version,
--   buyer_limit (units), hold ttl ms, sale starts ms, sale ends ms, move_seq, fuse requests/s
--@include shard
--@include stock
--@include settings
--@include facts

local MOST, SKU = tonumber(ARGV[2]), ARGV[3]
local BUYERS = PREFIX .. 'buyers:' .. SKU
if call('HLEN', RESERVATIONS) > MOST or call('HLEN', BUYERS) > MOST then
  return { NOW, -1 }
end

local reply = { NOW }
for _, name in ipairs({ RESERVATIONS, BUYERS }) do
  local flat = call('HGETALL', name)
  local n = #reply + 1
  reply[n] = #flat / 2
  for i = 1, #flat do
    reply[n + i] = flat[i]
  end
end
reply[#reply + 1] = tonumber(call('HGET', PREFIX .. 'sku:' .. SKU, 'repairs') or 0) or 0
local s = get_sku(SKU)
if s then
  append_facts(reply, s)
end
return reply
