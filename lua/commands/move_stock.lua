-- Applies one numbered stock movement of the ledger to a SKU: units in or out, the size of the
-- safety stock, and the sale's settings. The first movement (seq 1) creates the SKU.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] sku
--   ARGV[3] seq, the movement's number within the SKU (1, 2, ...)
--   ARGV[4] change of on_hand, units (may be negative)
--   ARGV[5] change of safety_stock, units (may be negative)
--   ARGV[6..10] buyer_limit units, hold ttl ms, sale starts ms, sale ends ms, fuse requests/s
--     (all '' leaves the settings)
-- Returns: flat array: now ms, code, a, then the terms of the SKU; TOO_FEW: a = available units
--@include codes
--@include shard
--@include stock

local SKU, SEQ = ARGV[2], tonumber(ARGV[3])
local DELTA, SAFETY_DELTA = tonumber(ARGV[4]), tonumber(ARGV[5])

local function write_settings(key)
  call('HSET', key, 'move_seq', SEQ)
  if ARGV[6] ~= '' then
    call('HSET', key, 'settings', table.concat(ARGS, '|', 6, 10))
  end
  call('ZADD', PREFIX .. 'skus', 0, SKU)
end

local function apply()
  local s = get_sku(SKU)
  if not s then
    if SEQ ~= 1 then
      return UNKNOWN_SKU, 0
    end
    s = add_sku(SKU, nil, nil, nil, nil, nil, nil, 0)
  end
  local key = PREFIX .. 'sku:' .. SKU
  local last, refused = unpack(call('HMGET', key, 'move_seq', 'move_refused'))
  last = tonumber(last) or 0
  if SEQ == last then
    if tonumber(refused) == SEQ then
      return TOO_FEW, s.available
    end
    return UNCHANGED, 0
  end
  if SEQ < last then
    return OUT_OF_ORDER, last
  end
  if s.broken then
    return s.settings == CLOSED and REBUILDING or INVARIANT_BREACH, 0
  end
  local safety = s.safety_stock + SAFETY_DELTA
  local available = s.available + DELTA - SAFETY_DELTA
  if available < 0 or safety < 0 then
    -- The verdict is kept: whoever drives this movement next must hear the same.
    if s.version > 0 then
      call('HSET', key, 'move_seq', SEQ, 'move_refused', SEQ)
    end
    return TOO_FEW, s.available
  end
  s.on_hand, s.available, s.safety_stock, s.dirty = s.on_hand + DELTA, available, safety, true
  if find_breach() then
    return INVARIANT_BREACH, 0
  end
  write_skus()
  write_settings(key)
  return DONE, 0
end

local code, a = apply()
return append_skus({ NOW, code, a })
