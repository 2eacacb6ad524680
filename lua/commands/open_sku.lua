-- Gives a closed SKU its rebuilt terms and settings, and opens it: from here on it sells.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] sku
--   ARGV[3] token it was closed with
--   ARGV[4..9] on_hand, available, held, unsettled, safety_stock, sold, all in units
--   ARGV[10] settings, as lua/includes/settings.lua has them
--   ARGV[11] number of the SKU's latest stock movement
--   ARGV[12] number of the latest movement if it was refused, or ''
-- Returns: flat array: now ms, code, then the terms of the SKU
--   OUT_OF_ORDER: it is not closed, or another rebuild has closed it since
--   INVARIANT_BREACH: these terms do not add up
--@include codes
--@include shard
--@include stock

local SKU, TOKEN = ARGV[2], ARGV[3]
local KEY = PREFIX .. 'sku:' .. SKU

local function open()
  local settings, closed_by = unpack(call('HMGET', KEY, 'settings', 'closed_by'))
  if settings ~= CLOSED or closed_by ~= TOKEN then
    return OUT_OF_ORDER
  end
  local version = math.max((tonumber(call('HGET', KEY, 'version') or 0) or 0) + 1, NOW)
  local s = add_sku(SKU, units_of(ARGS[4]), units_of(ARGS[5]), units_of(ARGS[6]),
    units_of(ARGS[7]), units_of(ARGS[8]), units_of(ARGS[9]), version, ARGS[10])
  if s.broken then
    return INVARIANT_BREACH
  end
  call('HSET', KEY, 'on_hand', ARGS[4], 'available', ARGS[5], 'held', ARGS[6],
    'unsettled', ARGS[7], 'safety_stock', ARGS[8], 'sold', ARGS[9], 'settings', ARGS[10],
    'move_seq', ARGS[11], 'version', string.format('%.0f', version))
  call('HDEL', KEY, 'closed_by')
  if ARGS[12] == '' then
    call('HDEL', KEY, 'move_refused')
  else
    call('HSET', KEY, 'move_refused', ARGS[12])
  end
  return DONE
end

local code = open()
local reply = { NOW, code }
return code == DONE and append_skus(reply) or reply
